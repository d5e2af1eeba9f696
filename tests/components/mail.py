"""A mail server. What it takes is written to `mails.jsonl`, one object a mail, as Python's own parser reads it.

The file `mood` says how it feels about the next recipient: empty (well), `later`, `never` or `hang`.

    mail.py ADDRESS plain|starttls|smtps|clear-auth|auth
"""

import asyncio
import email
import email.policy
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

NAME, PASSWORD = b"robot@example.com", b"p@ss: 100%/x"


def note(file, what):
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(what) + "\n")


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        mood = pathlib.Path("mood").read_text().strip() if pathlib.Path("mood").exists() else ""
        # Some people are not known here, whatever the mood is.
        mood = "never" if address.startswith("never@") else mood
        note("tries.jsonl", {"to": address, "mood": mood})
        if mood == "later":
            return "451 4.7.1 please come back later"
        if mood == "never":
            return f"550 5.1.1 <{address}> is not known here, see https://mail.test/why?token=s3cr3t"
        if mood == "hang":
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        part = lambda kind: mail.get_body(preferencelist=(kind,))
        note(
            "mails.jsonl",
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "tls": server.transport.get_extra_info("ssl_object") is not None,
                "name": session.auth_data.decode() if session.auth_data else None,
                "headers": [[name.lower(), str(value)] for name, value in mail.items()],
                "type": mail.get_content_type(),
                "parts": [one.get_content_type() for one in mail.iter_parts()],
                "text": part("plain").get_content(),
                "html": part("html").get_content(),
                "defects": [str(defect) for defect in mail.defects],
                "ascii": envelope.original_content.isascii(),
            },
        )
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, shown):
    good = (shown.login, shown.password) == (NAME, PASSWORD)
    note("logins.jsonl", {"mechanism": mechanism, "good": good, "tls": session.ssl is not None})
    if good:
        return AuthResult(success=True, auth_data=shown.login)
    return AuthResult(success=False, handled=False)


async def main(address, kind):
    host, port = address.rsplit(":", 1)
    context = None
    if kind in ("starttls", "smtps", "auth"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("tls.crt", "tls.key")

    def session():
        return SMTP(
            Handler(),
            hostname="mail.test",
            tls_context=context if kind in ("starttls", "auth") else None,
            require_starttls=kind == "auth",
            authenticator=authenticate if kind in ("auth", "clear-auth") else None,
            auth_required=kind == "auth",
            auth_require_tls=kind != "clear-auth",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, host, int(port), ssl=context if kind == "smtps" else None)
    async with server:
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
