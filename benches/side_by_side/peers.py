"""The other proxies, each as its own manual has it for speed: connections kept open on both sides, HTTP/1.1 to the
application, buffers as they come or larger where that helps, one worker or thread for each core that it is given.

An access log is off everywhere, or on everywhere and written to /dev/null.
"""

import json
import os
from pathlib import Path

from .install import which
from .machine import Process, await_port, free_port

# What an application behind a proxy is told of its client.
NGINX_FORWARDED = (
    ' proxy_http_version 1.1; proxy_set_header Connection "";'
    " proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;"
    " proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    " proxy_set_header X-Forwarded-Proto $scheme;"
)


class Peers:
    """Starts them. What is asked for twice with the same arguments is there once."""

    def __init__(self, folder, cores, wheels, log):
        self.folder, self.cores, self.wheels, self.log = folder, cores, wheels, log
        self.processes = []
        self.count = 0

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        self.processes = []

    def start(self, command, cores, folder, ports=(), **environment):
        process = Process(command, cores, folder / "output", self.cores.placing(cores), environment)
        self.processes.append(process)
        for port in ports:
            await_port(port, process)
        return process

    def place(self, name):
        """A folder of its own, which workers under another user can read."""
        self.count += 1
        folder = self.folder / f"{self.count}-{name}"
        folder.mkdir()
        os.chmod(folder, 0o755)
        return folder

    # --- nginx ----------------------------------------------------------------------------------------------------

    def nginx(self, name, cores, servers, http="", tls=None):
        """`servers`: for each port what stands in its server."""
        folder = self.place(name)
        paths = " ".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # In batches of the size of Foregate's.
        log = "access_log /dev/null combined buffer=16k flush=1s;" if self.log else "access_log off;"
        secure = ""
        if tls:
            secure = (
                f"ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};"
                " ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m;"
            )
        blocks = "".join(
            f"server {{ listen 127.0.0.1:{port} backlog=4096{' ssl' if tls else ''}; {body} }}\n"
            for port, body in servers.items()
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; worker_processes {len(cores)}; pid {folder}/pid; error_log {folder}/error.log crit;\n"
            "worker_rlimit_nofile 20000; events { worker_connections 18000; }\n"
            f"http {{ {paths} {log} server_tokens off; keepalive_requests 100000000; keepalive_timeout 600s; {secure}"
            f" {http}\n{blocks}}}\n"
        )
        command = [which("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        return self.start(command, cores, folder, servers)

    def application(self, sizes, cores):
        """Answers each path of `sizes` with so many bytes, every other one with 1 KiB. Below /public alike."""
        folder = self.place("application")
        locations = "location / { default_type text/html; return 200 '" + "x" * 1024 + "'; }"
        for path, size in sizes.items():
            # The text of one directive has a bound in nginx; a file has none.
            file = folder / path.strip("/")
            with open(file, "wb") as body:
                body.truncate(size)
            for prefix in ("", "/public"):
                locations += f" location {prefix}{path} {{ alias {file}; open_file_cache max=10; }}"
        port = free_port()
        self.nginx("application", cores, {port: locations}, "sendfile on; tcp_nopush on;")
        return port

    # --- HAProxy --------------------------------------------------------------------------------------------------

    def haproxy(self, cores, frontends, application, mode="http", tls=None):
        """`frontends`: for each port what stands in it."""
        folder = self.place("haproxy")
        secure = f" ssl crt {tls.both} ssl-min-ver TLSv1.2" if tls else ""
        log = "\n log stdout format raw local0\n option httplog" if self.log and mode == "http" else ""
        fronts = "".join(
            f"frontend on{port}\n bind 127.0.0.1:{port} backlog 4096{secure}\n {body}\n default_backend app\n"
            for port, body in frontends.items()
        )
        (folder / "haproxy.cfg").write_text(
            f"global\n nbthread {len(cores)}\n maxconn 9000\n"
            f"defaults\n mode {mode}\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n"
            f" timeout http-keep-alive 600s{log}\n"
            + (" option http-keep-alive\n option forwardfor\n" if mode == "http" else "")
            + f"{fronts}backend app\n{' http-reuse always' if mode == 'http' else ''}\n"
            f" server app 127.0.0.1:{application}\n"
        )
        if self.log:
            os.symlink("/dev/null", folder / "output")
        command = [which("haproxy"), "-f", str(folder / "haproxy.cfg")]
        return self.start(command, cores, folder, frontends)

    # --- Caddy ----------------------------------------------------------------------------------------------------

    def caddy(self, cores, application, answerer=None):
        """One that forwards, or one that asks `answerer` first."""
        folder, port = self.place("caddy"), free_port()
        log = "log {\n output file /dev/null\n}" if self.log else ""
        asks = ""
        if answerer:
            answers, path = answerer
            asks = f"forward_auth 127.0.0.1:{answers} {{\n uri {path}\n copy_headers Remote-User\n}}"
        (folder / "Caddyfile").write_text(
            f"{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n bind 127.0.0.1\n {log}\n {asks}\n"
            f" reverse_proxy 127.0.0.1:{application} {{\n transport http {{\n keepalive_idle_conns_per_host 512\n }}\n }}\n}}\n"
        )
        command = [which("caddy"), "run", "--config", str(folder / "Caddyfile")]
        own = {"GOMAXPROCS": str(len(cores)), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        return port, self.start(command, cores, folder, [port], **own)

    # --- Traefik --------------------------------------------------------------------------------------------------

    def traefik(self, cores, application, answerer=None):
        """One that forwards, or one that asks `answerer` first (ForwardAuth)."""
        folder, port = self.place("traefik"), free_port()
        http = {
            "routers": {"app": {"rule": "PathPrefix(`/`)", "service": "app"}},
            "services": {"app": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{application}"}]}}},
        }
        if answerer:
            answers, path = answerer
            address = f"http://127.0.0.1:{answers}{path}"
            http["middlewares"] = {"ask": {"forwardAuth": {"address": address, "authResponseHeaders": ["Remote-User"]}}}
            http["routers"]["app"]["middlewares"] = ["ask"]
        # JSON is YAML.
        (folder / "dynamic.yaml").write_text(json.dumps({"http": http}))
        command = [
            self.wheels().program("traefik"),
            f"--entrypoints.web.address=127.0.0.1:{port}",
            f"--providers.file.filename={folder}/dynamic.yaml",
            "--providers.file.watch=false",
            "--serverstransport.maxidleconnsperhost=512",
            "--log.level=ERROR",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ]
        if self.log:
            command += ["--accesslog", "--accesslog.filepath=/dev/null", "--accesslog.bufferingsize=100"]
        own = {"GOMAXPROCS": str(len(cores)), "HOME": str(folder)}
        return port, self.start(command, cores, folder, [port], **own)

    # --- Envoy ----------------------------------------------------------------------------------------------------

    def envoy(self, cores, application, jwks=None, issuer=None):
        """One that forwards, or one that takes tokens of an issuer alone (jwt_authn)."""
        folder, port = self.place("envoy"), free_port()
        extension = "type.googleapis.com/envoy.extensions"
        filters = []
        if jwks:
            provider = {"issuer": issuer, "local_jwks": {"inline_string": json.dumps(jwks)}, "forward": False}
            rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}
            filters.append(
                {
                    "name": "envoy.filters.http.jwt_authn",
                    "typed_config": {
                        "@type": f"{extension}.filters.http.jwt_authn.v3.JwtAuthentication",
                        "providers": {"bench": provider},
                        "rules": [rule],
                    },
                }
            )
        filters.append(
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{extension}.filters.http.router.v3.Router"},
            }
        )
        manager = {
            "@type": f"{extension}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "app",
            "use_remote_address": True,
            "generate_request_id": False,
            "http_filters": filters,
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "app",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}],
                    }
                ]
            },
        }
        if self.log:
            file = {"@type": f"{extension}.access_loggers.file.v3.FileAccessLog", "path": "/dev/null"}
            manager["access_log"] = [{"name": "envoy.access_loggers.file", "typed_config": file}]

        def at(number):
            return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

        endpoint = {"endpoint": {"address": at(application)}}
        config = {
            "static_resources": {
                "listeners": [
                    {
                        "name": "app",
                        "address": at(port),
                        "filter_chains": [
                            {
                                "filters": [
                                    {
                                        "name": "envoy.filters.network.http_connection_manager",
                                        "typed_config": manager,
                                    }
                                ]
                            }
                        ],
                    }
                ],
                "clusters": [
                    {
                        "name": "app",
                        "type": "STATIC",
                        "connect_timeout": "3s",
                        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096}]},
                        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    }
                ],
            }
        }
        (folder / "envoy.json").write_text(json.dumps(config))
        command = [self.wheels().envoy(), "--concurrency", str(len(cores)), "--disable-hot-restart"]
        command += ["-l", "error", "-c", str(folder / "envoy.json")]
        return port, self.start(command, cores, folder, [port])

    # --- An application that checks for itself ----------------------------------------------------------------------

    def flask(self, cores):
        """A Flask application with Flask-Login, under gunicorn with a worker for each core. Not a proxy: the check alone."""
        folder, port = self.place("flask"), free_port()
        (folder / "app.py").write_text(Path(__file__).with_name("flask_app.py").read_text())
        command = [self.wheels().program("gunicorn"), "--workers", str(len(cores)), "--keep-alive", "600"]
        # Its sync workers close each connection, those with threads keep it.
        command += ["--threads", "8", "--bind", f"127.0.0.1:{port}", "--chdir", str(folder), "app:app"]
        return port, self.start(command, cores, folder, [port], HOME=str(folder))
