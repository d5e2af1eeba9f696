//! What faulty files are told, word for word.

use super::{sound, told, with};

#[test]
fn an_unknown_key_is_told_with_what_was_probably_meant() {
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - path: /a\n    upstrem: app\n",
        &[
            "foregate.yaml:4:5: unknown key `upstrem`",
            "    4 |     upstrem: app",
            "      |     ^^^^^^^ did you mean `upstream`?",
        ],
    );
    told(
        &with("listn: 127.0.0.1:80"),
        &[
            "foregate.yaml:1:1: unknown key `listn`",
            "    1 | listn: 127.0.0.1:80",
            "      | ^^^^^ did you mean `listen`?",
        ],
    );
    told(
        &with("vhosts: {}"),
        &[
            "foregate.yaml:1:1: unknown key `vhosts`",
            "    1 | vhosts: {}",
            "      | ^^^^^^ expected `listen`, `tls`, `public_url`, `trusted_proxies`, `proxy_protocol`, `store`, `portal`, `session`, `cache`, `password`, `tokens`, `issuers`, `identity_headers`, `limits`, `mail`, `registration`, `upstreams`, `routes`, `admin` or `log`",
        ],
    );
}

#[test]
fn a_duplicate_key_is_told_with_the_first_one() {
    told(
        &with("store: sled:./a\nlog: { level: info }\nstore: sled:./b"),
        &[
            "foregate.yaml:3:1: duplicate key `store`",
            "    3 | store: sled:./b",
            "      | ^^^^^ a key may stand here once",
            "    1 | store: sled:./a",
            "      | ^^^^^ foregate.yaml:1:1: the first one",
        ],
    );
}

#[test]
fn members_invite_where_somebody_can_be_invited_and_a_mail_can_be_sent() {
    told(
        &with("registration: { mode: invite, members_invite: true }"),
        &[
            "foregate.yaml:1:47: members can't invite: `mail` is not set, and their invitations go by mail alone",
            "    1 | registration: { mode: invite, members_invite: true }",
            "      |                                               ^^^^ set `mail`, or set `registration.members_invite` to `false`",
        ],
    );
    told(
        &with("registration: { members_invite: true }"),
        &[
            "foregate.yaml:1:33: nobody can be invited: registration is closed",
            "    1 | registration: { members_invite: true }",
            "      |                                 ^^^^ set `registration.mode` to `invite`, `approval` or `open`",
        ],
    );
    told(
        &with("registration: { mode: invite, inviter_roles: [staff], invitations_per_member: 3 }"),
        &[
            "foregate.yaml:1:31: no member invites: `members_invite` is not set",
            "    1 | registration: { mode: invite, inviter_roles: [staff], invitations_per_member: 3 }",
            "      |                               ^^^^^^^^^^^^^ set `registration.members_invite` to `true`, or leave this out",
            "foregate.yaml:1:55: no member invites: `members_invite` is not set",
            "    1 | registration: { mode: invite, inviter_roles: [staff], invitations_per_member: 3 }",
            "      |                                                       ^^^^^^^^^^^^^^^^^^^^^^ set `registration.members_invite` to `true`, or leave this out",
        ],
    );
}

#[test]
fn a_look_is_held_to_what_a_page_can_show() {
    told(
        &with("portal: { color: green }"),
        &[
            "foregate.yaml:1:18: `color` can't be `green`",
            "    1 | portal: { color: green }",
            "      |                  ^^^^^ expected a colour such as `\"#17594a\"`",
        ],
    );
    told(
        &with("portal:\n  footer: [{ text: Help, url: \"javascript:alert(1)\" }]"),
        &[
            "foregate.yaml:2:31: `url` can't be `javascript:alert(1)`",
            "    2 |   footer: [{ text: Help, url: \"javascript:alert(1)\" }]",
            "      |                               ^^^^^^^^^^^^^^^^^^^^^^ expected an address such as `https://example.com/help`, `mailto:help@example.com` or `/help`",
        ],
    );
    told(
        &with("portal: { message: { fr: Bonjour } }"),
        &[
            "foregate.yaml:1:20: there is no text in any language",
            "    1 | portal: { message: { fr: Bonjour } }",
            "      |                    ^^ expected a text, or one for each language as in `{ en: Hello, de: Hallo }`",
            "foregate.yaml:1:22: unknown key `fr`",
            "    1 | portal: { message: { fr: Bonjour } }",
            "      |                      ^^ expected `en` or `de`",
        ],
    );
    told(
        &with("portal: { logo: none.svg, theme: ./none }"),
        &[
            "foregate.yaml:1:17: there is no `/etc/foregate/none.svg`",
            "    1 | portal: { logo: none.svg, theme: ./none }",
            "      |                 ^^^^^^^^ expected a small picture in SVG, PNG, JPEG, WebP or GIF, such as `logo.svg`",
            "foregate.yaml:1:34: there is no `/etc/foregate/none`",
            "    1 | portal: { logo: none.svg, theme: ./none }",
            "      |                                  ^^^^^^ expected a folder with what `foregate theme export FOLDER` writes, or with a part of it",
        ],
    );
}

#[test]
fn a_wrong_type_is_told_with_the_right_one() {
    told(
        &with("session: 5"),
        &[
            "foregate.yaml:1:10: `session` can't be `5`",
            "    1 | session: 5",
            "      |          ^ expected keys and values",
        ],
    );
    told(
        &with("session:\n  lifetime: [1h]"),
        &[
            "foregate.yaml:2:13: `lifetime` can't be a list",
            "    2 |   lifetime: [1h]",
            "      |             ^ expected a duration such as `500ms`, `30s`, `15m`, `1h30m` or `7d`",
        ],
    );
    told(
        &with("portal: { title: 2026 }"),
        &[
            "foregate.yaml:1:18: `title` can't be `2026`",
            "    1 | portal: { title: 2026 }",
            "      |                  ^^^^ expected a text: put it in quotes",
        ],
    );
    told(
        &with("limits: { headers: many }"),
        &[
            "foregate.yaml:1:20: `headers` can't be `many`",
            "    1 | limits: { headers: many }",
            "      |                    ^^^^ expected a whole number from 10 to 10000",
        ],
    );
    told(
        &with("trusted_proxies: 10.0.0.0/8"),
        &[
            "foregate.yaml:1:18: `trusted_proxies` can't be `10.0.0.0/8`",
            "    1 | trusted_proxies: 10.0.0.0/8",
            "      |                  ^^^^^^^^^^ expected a list",
        ],
    );
    told(
        "- a\n",
        &[
            "foregate.yaml:1:1: the configuration can't be a list",
            "    1 | - a",
            "      | ^ expected keys and values",
        ],
    );
    told(
        "upstreams: {}\nroutes: []\n",
        &[
            "foregate.yaml:2:9: `routes` can't be an empty list",
            "    2 | routes: []",
            "      |         ^ expected a list of routes, such as `- { path: /**, upstream: app }`",
        ],
    );
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - { path: /, csrf: yes }\n",
        &[
            "foregate.yaml:3:22: `csrf` can't be `yes`",
            "    3 |   - { path: /, csrf: yes }",
            "      |                      ^^^ expected `true` or `false`",
        ],
    );
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - { path: /, methods: GET, credentials: [], unauthenticated: [] }\n",
        &[
            "foregate.yaml:3:25: `methods` can't be `GET`",
            "    3 |   - { path: /, methods: GET, credentials: [], unauthenticated: [] }",
            "      |                         ^^^ expected a list with at least one method; left out, it means all",
            "foregate.yaml:3:43: `credentials` can't be an empty list",
            "    3 |   - { path: /, methods: GET, credentials: [], unauthenticated: [] }",
            "      |                                           ^ expected a list with at least one of `session`, `bearer` and `basic`",
            "foregate.yaml:3:64: `unauthenticated` can't be an empty list",
            "    3 |   - { path: /, methods: GET, credentials: [], unauthenticated: [] }",
            "      |                                                                ^ expected `auto`, `login` or `status`",
        ],
    );
    told(
        &with("listen: []"),
        &[
            "foregate.yaml:1:9: `listen` can't be an empty list",
            "    1 | listen: []",
            "      |         ^ expected at least one address, such as `127.0.0.1:8080`",
        ],
    );
}

#[test]
fn a_bad_value_is_told_with_what_was_expected() {
    told(
        &with("session:\n  idle_timeout: 30x"),
        &[
            "foregate.yaml:2:17: `idle_timeout` can't be `30x`",
            "    2 |   idle_timeout: 30x",
            "      |                 ^^^ expected a duration such as `500ms`, `30s`, `15m`, `1h30m` or `7d`",
        ],
    );
    told(
        &with("password: { min_length: 7, argon2: { memory: 1MiB } }"),
        &[
            "foregate.yaml:1:25: `min_length` can't be `7`",
            "    1 | password: { min_length: 7, argon2: { memory: 1MiB } }",
            "      |                         ^ expected a whole number from 8 to 1024",
            "foregate.yaml:1:46: `memory` can't be `1MiB`",
            "    1 | password: { min_length: 7, argon2: { memory: 1MiB } }",
            "      |                                              ^^^^ expected a size from `7MiB` to `1GiB`",
        ],
    );
    told(
        &with("log: { level: inof }"),
        &[
            "foregate.yaml:1:15: `level` can't be `inof`",
            "    1 | log: { level: inof }",
            "      |               ^^^^ did you mean `info`?",
        ],
    );
    told(
        &with("store: postgres://db/x"),
        &[
            "foregate.yaml:1:8: `store` can't be `postgres://db/x`",
            "    1 | store: postgres://db/x",
            "      |        ^^^^^^^^^^^^^^^ expected `sled:DIRECTORY`: databases are not supported yet",
        ],
    );
    told(
        &with("listen: [\"127.0.0.1\", \"unix:\"]"),
        &[
            "foregate.yaml:1:10: `listen` can't list `127.0.0.1`",
            "    1 | listen: [\"127.0.0.1\", \"unix:\"]",
            "      |          ^^^^^^^^^^^ expected an address with a port such as `127.0.0.1:8080` or `[::]:8080`, `unix:/run/foregate/http.sock`, or `systemd`",
            "foregate.yaml:1:23: `listen` can't list `unix:`",
            "    1 | listen: [\"127.0.0.1\", \"unix:\"]",
            "      |                       ^^^^^^^ expected an address with a port such as `127.0.0.1:8080` or `[::]:8080`, `unix:/run/foregate/http.sock`, or `systemd`",
        ],
    );
    told(
        &with(
            "public_url: http://a\nlisten: ['unix:a', { unix: a, mode: '0600' }, { unix: b, mode: 600k }, systemd, systemd]",
        ),
        &[
            "foregate.yaml:2:20: `listen` can't list a mapping",
            "    2 | listen: ['unix:a', { unix: a, mode: '0600' }, { unix: b, mode: 600k }, systemd, systemd]",
            "      |                    ^^ it is there already",
            "foregate.yaml:2:64: `mode` can't be `600k`",
            "    2 | listen: ['unix:a', { unix: a, mode: '0600' }, { unix: b, mode: 600k }, systemd, systemd]",
            "      |                                                                ^^^^ expected a file mode in quotes, such as `\"0660\"`",
            "foregate.yaml:2:81: `listen` can't list `systemd`",
            "    2 | listen: ['unix:a', { unix: a, mode: '0600' }, { unix: b, mode: 600k }, systemd, systemd]",
            "      |                                                                                 ^^^^^^^ it is there already",
        ],
    );
    told(
        &with("portal: { account_deletion: ask }"),
        &[
            "foregate.yaml:1:29: `account_deletion` can't be `ask`",
            "    1 | portal: { account_deletion: ask }",
            "      |                             ^^^ expected `true` or `false`",
        ],
    );
    told(
        &with("proxy_protocol: v2\nlimits: { drain_delay: soon }"),
        &[
            "foregate.yaml:1:17: `proxy_protocol` can't be `v2`",
            "    1 | proxy_protocol: v2",
            "      |                 ^^ expected `true` or `false`",
            "foregate.yaml:2:24: `drain_delay` can't be `soon`",
            "    2 | limits: { drain_delay: soon }",
            "      |                        ^^^^ expected a duration such as `500ms`, `30s`, `15m`, `1h30m` or `7d`",
        ],
    );
    told(
        &with("session: { cookie: { same_site: none, domain: example.com } }"),
        &[
            "foregate.yaml:1:33: `same_site` can't be `none`",
            "    1 | session: { cookie: { same_site: none, domain: example.com } }",
            "      |                                 ^^^^ browsers take `none` over https alone: expected `lax` or `strict`, or an https `public_url`",
            "foregate.yaml:1:47: `domain` can't be `example.com`",
            "    1 | session: { cookie: { same_site: none, domain: example.com } }",
            "      |                                               ^^^^^^^^^^^ expected a domain that the host of `public_url` is in",
        ],
    );
    told(
        &with("session: { cookie: { name: access_token_cookie } }"),
        &[
            "foregate.yaml:1:28: `name` can't be `access_token_cookie`",
            "    1 | session: { cookie: { name: access_token_cookie } }",
            "      |                            ^^^^^^^^^^^^^^^^^^^ expected another name: tokens are kept in a cookie of this one",
        ],
    );
    told(
        &with("tokens: { key_rotation: 5m }"),
        &[
            "foregate.yaml:1:25: `key_rotation` can't be `5m`",
            "    1 | tokens: { key_rotation: 5m }",
            "      |                         ^^ expected a time of at least `1h`, such as `90d`; `0` for never",
        ],
    );
    told(
        &with("tokens: { refresh_grace: 1h, refresh_ttl: never }"),
        &[
            "foregate.yaml:1:26: `refresh_grace` can't be `1h`",
            "    1 | tokens: { refresh_grace: 1h, refresh_ttl: never }",
            "      |                          ^^ expected a time of at most `5m`, such as `10s`; `0` for none",
            "foregate.yaml:1:43: `refresh_ttl` can't be `never`",
            "    1 | tokens: { refresh_grace: 1h, refresh_ttl: never }",
            "      |                                           ^^^^^ expected a duration such as `500ms`, `30s`, `15m`, `1h30m` or `7d`",
        ],
    );
    told(
        &with("portal: { prefix: /auth/, after_login: //evil.test }"),
        &[
            "foregate.yaml:1:19: `prefix` can't be `/auth/`",
            "    1 | portal: { prefix: /auth/, after_login: //evil.test }",
            "      |                   ^^^^^^ expected a path such as `/.auth`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
            "foregate.yaml:1:40: `after_login` can't be `//evil.test`",
            "    1 | portal: { prefix: /auth/, after_login: //evil.test }",
            "      |                                        ^^^^^^^^^^^ expected a path on this origin, such as `/` or `/home`",
        ],
    );
}

#[test]
fn what_is_required_and_missing_is_told() {
    told(
        "upstreams: { app: http://a:1 }\n",
        &[
            "foregate.yaml:1:1: `routes` is missing",
            "    1 | upstreams: { app: http://a:1 }",
            "      | ^^^^^^^^^ expected a list of routes, such as `- { path: /**, upstream: app }`",
        ],
    );
    told(
        "routes:\nupstreams: { app: {} }\n",
        &[
            "foregate.yaml:1:1: `routes` is empty",
            "    1 | routes:",
            "      | ^^^^^^ expected a list of routes, such as `- { path: /**, upstream: app }`",
            "foregate.yaml:2:19: `servers` is missing",
            "    2 | upstreams: { app: {} }",
            "      |                   ^ expected a server such as `http://127.0.0.1:3000`",
        ],
    );
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - upstream: app\n",
        &[
            "foregate.yaml:3:5: `path` is missing",
            "    3 |   - upstream: app",
            "      |     ^^^^^^^^ expected a path such as `/admin/**`",
        ],
    );
}

#[test]
fn a_balance_and_checks_that_can_not_be_are_told() {
    let upstream = |keys: &str| {
        format!(
            "upstreams:\n  app:\n    servers: [http://a:1, http://b:1]\n    {keys}\nroutes: [{{ path: /, upstream: app }}]\n"
        )
    };
    told(
        &upstream("balance: round_robbin"),
        &[
            "foregate.yaml:4:14: `balance` can't be `round_robbin`",
            "    4 |     balance: round_robbin",
            "      |              ^^^^^^^^^^^^ did you mean `round_robin`?",
        ],
    );
    told(
        &upstream("balance: weighted"),
        &[
            "foregate.yaml:4:14: `balance` can't be `weighted`",
            "    4 |     balance: weighted",
            "      |              ^^^^^^^^ expected `round_robin`, `least_requests` or `client_ip`",
        ],
    );
    told(
        &upstream("health: { interval: 5s }"),
        &[
            "foregate.yaml:4:15: `path` is missing",
            "    4 |     health: { interval: 5s }",
            "      |               ^^^^^^^^ expected what to ask the servers for, such as `path: /healthz`",
        ],
    );
    told(
        &upstream("health: { path: healthz, interval: 50ms, unhealthy_after: 0, healthy_afer: 1 }"),
        &[
            "foregate.yaml:4:21: `path` can't be `healthz`",
            "    4 |     health: { path: healthz, interval: 50ms, unhealthy_after: 0, healthy_afer: 1 }",
            "      |                     ^^^^^^^ expected a path such as `/healthz`, with a query or without",
            "foregate.yaml:4:40: `interval` can't be `50ms`",
            "    4 |     health: { path: healthz, interval: 50ms, unhealthy_after: 0, healthy_afer: 1 }",
            "      |                                        ^^^^ expected an interval of `100ms` or longer",
            "foregate.yaml:4:63: `unhealthy_after` can't be `0`",
            "    4 |     health: { path: healthz, interval: 50ms, unhealthy_after: 0, healthy_afer: 1 }",
            "      |                                                               ^ expected a whole number from 1 to 1000",
            "foregate.yaml:4:66: unknown key `healthy_afer`",
            "    4 |     health: { path: healthz, interval: 50ms, unhealthy_after: 0, healthy_afer: 1 }",
            "      |                                                                  ^^^^^^^^^^^^ did you mean `healthy_after`?",
        ],
    );
    told(
        &upstream("health: /healthz"),
        &[
            "foregate.yaml:4:13: `health` can't be `/healthz`",
            "    4 |     health: /healthz",
            "      |             ^^^^^^^^ expected keys and values",
        ],
    );
}

#[test]
fn an_upstream_that_is_not_there_is_told() {
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - path: /**\n    upstream: ap\n",
        &[
            "foregate.yaml:4:15: there is no upstream `ap`",
            "    4 |     upstream: ap",
            "      |               ^^ did you mean `app`?",
        ],
    );
    told(
        "upstreams: { app: ftp://a:1, other: { servers: [http://b/x, 'unix:'] } }\nroutes: [{ path: /, upstream: app }]\n",
        &[
            "foregate.yaml:1:19: `app` can't be `ftp://a:1`",
            "    1 | upstreams: { app: ftp://a:1, other: { servers: [http://b/x, 'unix:'] } }",
            "      |                   ^^^^^^^^^ expected a server such as `http://127.0.0.1:3000`, `https://app:8443` or `unix:/run/app.sock`: no path and no user",
            "foregate.yaml:1:49: `servers` can't list `http://b/x`",
            "    1 | upstreams: { app: ftp://a:1, other: { servers: [http://b/x, 'unix:'] } }",
            "      |                                                 ^^^^^^^^^^ expected a server such as `http://127.0.0.1:3000`, `https://app:8443` or `unix:/run/app.sock`: no path and no user",
            "foregate.yaml:1:61: `servers` can't list `unix:`",
            "    1 | upstreams: { app: ftp://a:1, other: { servers: [http://b/x, 'unix:'] } }",
            "      |                                                             ^^^^^^^ expected `unix:PATH`, of 107 bytes at most",
        ],
    );
}

#[test]
fn a_route_that_no_request_reaches_is_told_with_the_one_before_it() {
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - path: /**\n    upstream: app\n  - { path: /admin/**, upstream: app }\n",
        &[
            "foregate.yaml:5:13: no request reaches this route",
            "    5 |   - { path: /admin/**, upstream: app }",
            "      |             ^^^^^^^^^ the first that matches decides: move it up, or remove it",
            "    3 |   - path: /**",
            "      |           ^^^ foregate.yaml:3:11: this route takes all of its requests",
        ],
    );
    told(
        "upstreams: { app: http://a:1 }\nroutes: [{ path: /.auth/x, upstream: app }]\n",
        &[
            "foregate.yaml:2:18: no request reaches this route",
            "    2 | routes: [{ path: /.auth/x, upstream: app }]",
            "      |                  ^^^^^^^^ what lies under `portal.prefix` is the portal's, on every host",
        ],
    );
}

#[test]
fn access_and_require_do_not_go_together() {
    told(
        "upstreams: { app: http://a:1 }\nroutes:\n  - path: /\n    access: public\n    require: { fresh_login: 5m }\n",
        &[
            "foregate.yaml:4:13: `access: public` lets everybody in, and `require` does not",
            "    4 |     access: public",
            "      |             ^^^^^^ expected one of them, or `access: authenticated`",
            "    5 |     require: { fresh_login: 5m }",
            "      |              ^^ foregate.yaml:5:14: what is required",
        ],
    );
}

#[test]
fn identity_headers_have_names_and_placeholders_that_mean_what_they_say() {
    told(
        &with(
            "identity_headers:\n  Remote-User: '{usernam}'\n  remote_user: '{email}'\n  Cookie: '{name}'\n  a b: x\n  X-A: '{b}'",
        ),
        &[
            "foregate.yaml:2:16: `Remote-User` can't be `{usernam}`",
            "    2 |   Remote-User: '{usernam}'",
            "      |                ^^^^^^^^^^^ did you mean `{username}`?",
            "foregate.yaml:3:3: `Remote-User` and `remote_user` are one name to some backends",
            "    3 |   remote_user: '{email}'",
            "      |   ^^^^^^^^^^^ expected one of them alone",
            "    2 |   Remote-User: '{usernam}'",
            "      |   ^^^^^^^^^^^ foregate.yaml:2:3: the other one",
            "foregate.yaml:4:3: `Cookie` can't carry an identity",
            "    4 |   Cookie: '{name}'",
            "      |   ^^^^^^ it means something else to backends; expected a name such as `Remote-User`",
            "foregate.yaml:5:3: `a b` is no header name",
            "    5 |   a b: x",
            "      |   ^^^ expected letters, digits and `-`, such as `Remote-User`",
            "foregate.yaml:6:8: `X-A` can't be `{b}`",
            "    6 |   X-A: '{b}'",
            "      |        ^^^^^ expected text with `{username}`, `{email}`, `{name}` or `{roles}` in it",
        ],
    );
}

#[test]
fn a_route_changes_no_header_that_is_not_its_own() {
    told(
        "upstreams: { app: http://a:1 }
routes:
  - path: /a
    headers:
      Host: a.test
      Content_Length: \"5\"
      X-Forwarded-For: null
      X Y: z
      X-Tenant: blue
      X_Tenant: null
      X-Number: 5
      X-Text: \"a\\nb\"
      X-File: { file: /nowhere/secret }
      X-Person: me
      X-List: [a]
    response_headers:
      Transfer-Encoding: null
      Set-Cookie: __Host-foregate=x; Path=/
  - { path: /b, identity_headers: { X.Person: \"{name}\" } }
  - { path: /c, forward_authorization: true, headers: { authorization: Basic eA== } }
",
        &[
            "foregate.yaml:5:7: a route can't change `Host`",
            "    5 |       Host: a.test",
            "      |       ^^^^ what the servers see as Host is said at the upstream: `host`",
            "foregate.yaml:6:7: a route can't change `Content_Length`",
            "    6 |       Content_Length: \"5\"",
            "      |       ^^^^^^^^^^^^^^ it belongs to a connection or frames a message: Foregate makes it anew",
            "foregate.yaml:7:7: a route can't change `X-Forwarded-For`",
            "    7 |       X-Forwarded-For: null",
            "      |       ^^^^^^^^^^^^^^^ it says who somebody is or where a request comes from: Foregate alone sets or removes it",
            "foregate.yaml:8:7: `X Y` is no header name",
            "    8 |       X Y: z",
            "      |       ^^^ expected letters, digits and `-`, such as `Remote-User`",
            "foregate.yaml:10:7: `X-Tenant` and `X_Tenant` are one name to some backends",
            "   10 |       X_Tenant: null",
            "      |       ^^^^^^^^ expected one of them alone",
            "    9 |       X-Tenant: blue",
            "      |       ^^^^^^^^ foregate.yaml:9:7: the other one",
            "foregate.yaml:11:17: `X-Number` can't be `5`",
            "   11 |       X-Number: 5",
            "      |                 ^ expected a text: put it in quotes",
            // It may be a secret: neither it nor its line is shown.
            "foregate.yaml:12:15: `X-Text` can't be this",
            "      = expected one line of ASCII characters without blanks at its ends, 8 KiB at most",
            "foregate.yaml:13:23: /nowhere/secret can't be read: No such file or directory (os error 2)",
            "   13 |       X-File: { file: /nowhere/secret }",
            "      |                       ^^^^^^^^^^^^^^^ expected a text file that this user can read",
            "foregate.yaml:14:7: a route can't change `X-Person`",
            "   14 |       X-Person: me",
            "      |       ^^^^^^^^ some backend takes it for one of the `identity_headers`",
            "foregate.yaml:15:15: `X-List` can't be a list",
            "   15 |       X-List: [a]",
            "      |               ^ expected a text",
            "foregate.yaml:17:7: a route can't change `Transfer-Encoding`",
            "   17 |       Transfer-Encoding: null",
            "      |       ^^^^^^^^^^^^^^^^^ it belongs to a connection or frames a message: Foregate makes it anew",
            "foregate.yaml:18:19: `Set-Cookie` can't be `__Host-foregate=x; Path=/`",
            "   18 |       Set-Cookie: __Host-foregate=x; Path=/",
            "      |                   ^^^^^^^^^^^^^^^^^^^^^^^^^ expected another cookie: this one is Foregate's own",
            "foregate.yaml:20:57: `forward_authorization: true` passes the client's `Authorization` on, and this replaces it",
            "   20 |   - { path: /c, forward_authorization: true, headers: { authorization: Basic eA== } }",
            "      |                                                         ^^^^^^^^^^^^^ expected one of them alone",
        ],
    );
}

#[test]
fn a_prefix_is_cut_only_off_paths_that_all_begin_with_it() {
    told(
        "upstreams: { app: http://a:1 }
routes:
  - { path: /api/**, strip_prefix: /api/ }
  - { path: /b/*/c, strip_prefix: /b/x }
  - { path: /c, strip_prefix: /c/d, add_prefix: v1 }
  - { path: /d/**, strip_prefix: /D }
  - { path: /e/**, strip_prefix: \"/%65\" }
  - { path: /f/**, add_prefix: / }
  - { path: /**, strip_prefix: /api }
",
        &[
            "foregate.yaml:3:36: `strip_prefix` can't be `/api/`",
            "    3 |   - { path: /api/**, strip_prefix: /api/ }",
            "      |                                    ^^^^^ expected a path such as `/api`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
            "foregate.yaml:4:35: this route also takes paths that do not begin with `/b/x`",
            "    4 |   - { path: /b/*/c, strip_prefix: /b/x }",
            "      |                                   ^^^^ expected the first segments of the route's `path`, as they stand there",
            "    4 |   - { path: /b/*/c, strip_prefix: /b/x }",
            "      |             ^^^^^^ foregate.yaml:4:13: the paths that it takes",
            "foregate.yaml:5:31: this route also takes paths that do not begin with `/c/d`",
            "    5 |   - { path: /c, strip_prefix: /c/d, add_prefix: v1 }",
            "      |                               ^^^^ expected the first segments of the route's `path`, as they stand there",
            "    5 |   - { path: /c, strip_prefix: /c/d, add_prefix: v1 }",
            "      |             ^^ foregate.yaml:5:13: the paths that it takes",
            "foregate.yaml:5:49: `add_prefix` can't be `v1`",
            "    5 |   - { path: /c, strip_prefix: /c/d, add_prefix: v1 }",
            "      |                                                 ^^ expected a path such as `/api`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
            "foregate.yaml:6:34: this route also takes paths that do not begin with `/D`",
            "    6 |   - { path: /d/**, strip_prefix: /D }",
            "      |                                  ^^ expected the first segments of the route's `path`, as they stand there",
            "    6 |   - { path: /d/**, strip_prefix: /D }",
            "      |             ^^^^^ foregate.yaml:6:13: the paths that it takes",
            "foregate.yaml:7:34: `strip_prefix` can't be `/%65`",
            "    7 |   - { path: /e/**, strip_prefix: \"/%65\" }",
            "      |                                  ^^^^^^^ expected a path such as `/api`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
            "foregate.yaml:8:32: `add_prefix` can't be `/`",
            "    8 |   - { path: /f/**, add_prefix: / }",
            "      |                                ^ expected a path such as `/api`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
            "foregate.yaml:9:32: this route also takes paths that do not begin with `/api`",
            "    9 |   - { path: /**, strip_prefix: /api }",
            "      |                                ^^^^ expected the first segments of the route's `path`, as they stand there",
            "    9 |   - { path: /**, strip_prefix: /api }",
            "      |             ^^^ foregate.yaml:9:13: the paths that it takes",
        ],
    );
}

#[test]
fn what_is_not_yaml_is_told_where() {
    told(
        &with("session: { lifetime: 1h"),
        &[
            "foregate.yaml:2:10: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'",
            "    2 | upstreams: { app: http://127.0.0.1:3000 }",
            "      |          ^ a text that begins with one of `[ { * & ! % @ > |`, or has `: ` in it, needs quotes",
        ],
    );
    told(
        &with("session:\n\tlifetime: 1h"),
        &[
            "foregate.yaml:2:1: a tab indents this line",
            "    2 |  lifetime: 1h",
            "      | ^ YAML is indented with spaces",
        ],
    );
    told(
        &with("portal: { title: 'x"),
        &[
            "foregate.yaml:1:18: this is not YAML: while scanning a quoted scalar, found unexpected end of stream",
            "    1 | portal: { title: 'x",
            "      |                  ^ a text that begins with one of `[ { * & ! % @ > |`, or has `: ` in it, needs quotes",
        ],
    );
    told(
        &with("listen: [::]:80"),
        &[
            "foregate.yaml:1:13: this is not YAML: while parsing a block mapping, did not find expected key",
            "    1 | listen: [::]:80",
            "      |             ^ a text that begins with one of `[ { * & ! % @ > |`, or has `: ` in it, needs quotes",
        ],
    );
    told(
        &with("limits: { headers: ${PORT} }"),
        &[
            "foregate.yaml:1:21: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'",
            "    1 | limits: { headers: ${PORT} }",
            "      |                     ^ within `{ }` and `[ ]`, `${NAME}` needs quotes",
        ],
    );
    told(
        &with("---\n{}\n---"),
        &["foregate.yaml:3:1: a second document begins here", "    3 | ---", "      | ^^^ expected one"],
    );
}

#[test]
fn anchors_and_what_belongs_to_them_are_refused() {
    told(
        &with("session: &a { lifetime: 1h }\ncache: *a\nportal: { <<: 1 }\nlog: !x {}\n? [a]\n: b"),
        &[
            "foregate.yaml:1:10: an anchor (`&name`) is not taken here",
            "    1 | session: &a { lifetime: 1h }",
            "      |          ^^^^^ write the value out where it is used",
            "foregate.yaml:2:8: an alias (`*name`) is not taken here",
            "    2 | cache: *a",
            "      |        ^^ write the value out; a text that begins with `*` needs quotes",
            "foregate.yaml:3:11: a merge key (`<<`) is not taken here",
            "    3 | portal: { <<: 1 }",
            "      |           ^^ write the keys out",
            "foregate.yaml:4:6: a tag (`!name`) is not taken here",
            "    4 | log: !x {}",
            "      |      ^^^^ write the value without it",
            "foregate.yaml:5:3: a key has to be a word",
            "    5 | ? [a]",
            "      |   ^",
        ],
    );
}

#[test]
fn a_variable_that_is_missing_is_named_and_one_that_is_set_is_never_shown() {
    told(
        &with("store: ${GONE}"),
        &[
            "foregate.yaml:1:8: the environment variable `GONE` is not set",
            "    1 | store: ${GONE}",
            "      |        ^^^^^^^ set it, or write `$${` for a `${` that is meant as it is",
        ],
    );
    told(
        &with("public_url: https://${SECRET}/x"),
        &[
            "foregate.yaml:1:13: `public_url` can't be `https://${SECRET}/x`",
            "    1 | public_url: https://${SECRET}/x",
            "      |             ^^^^^^^^^^^^^^^^^^^ expected an origin such as `https://login.example.com`: http or https, a host and perhaps a port",
        ],
    );
    told(
        &with("portal: { title: \"${\" }"),
        &[
            "foregate.yaml:1:18: `${` begins a variable that is no name, or has no closing `}`",
            "    1 | portal: { title: \"${\" }",
            "      |                  ^^^^^ expected `${NAME}`; write `$${` for a `${` that is meant as it is",
        ],
    );
    told(
        "upstreams: { app: http://a:1 }\nroutes: [{ path: /, upstream: \"${SECRET}\" }]\n",
        &[
            "foregate.yaml:2:31: there is no upstream `${SECRET}`",
            "    2 | routes: [{ path: /, upstream: \"${SECRET}\" }]",
            "      |                               ^^^^^^^^^^^^ expected `app`",
        ],
    );
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    told("", &["foregate.yaml: is empty: `upstreams` and `routes` are required"]);
    told("# nothing\n", &["foregate.yaml: is empty: `upstreams` and `routes` are required"]);
}

#[test]
fn an_address_for_metrics_that_can_not_be_is_told() {
    told(
        &with("admin: { listen: 9180 }"),
        &[
            "foregate.yaml:1:18: `listen` can't be `9180`",
            "    1 | admin: { listen: 9180 }",
            "      |                  ^^^^ expected an address with a port, such as `127.0.0.1:9180`",
        ],
    );
    told(
        &with("listen: [127.0.0.1:80, '[::1]:80']\nadmin: { listen: '[::1]:80' }"),
        &[
            "foregate.yaml:2:18: `listen` can't be `[::1]:80`",
            "    2 | admin: { listen: '[::1]:80' }",
            "      |                  ^^^^^^^^^^^ expected another address than those of `listen`, such as `127.0.0.1:9180`",
        ],
    );
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    told(
        "listen: 8080\nsession: { idle_timeout: never, liftime: 1h }\nroutes:\n  - { path: admin, methods: [get, TRACE] }\n  - { path: /a*, upstream: ap }\nupstreams:\n  app: 127.0.0.1:3000\n",
        &[
            "foregate.yaml:1:9: `listen` can't be `8080`",
            "    1 | listen: 8080",
            "      |         ^^^^ expected an address with a port such as `127.0.0.1:8080` or `[::]:8080`, `unix:/run/foregate/http.sock`, or `systemd`",
            "foregate.yaml:2:26: `idle_timeout` can't be `never`",
            "    2 | session: { idle_timeout: never, liftime: 1h }",
            "      |                          ^^^^^ expected a duration such as `500ms`, `30s`, `15m`, `1h30m` or `7d`",
            "foregate.yaml:2:33: unknown key `liftime`",
            "    2 | session: { idle_timeout: never, liftime: 1h }",
            "      |                                 ^^^^^^^ did you mean `lifetime`?",
            "foregate.yaml:4:13: `path` can't be `admin`",
            "    4 |   - { path: admin, methods: [get, TRACE] }",
            "      |             ^^^^^ expected a path that begins with `/`, such as `/`, `/admin/**` or `/api/*/status`",
            "foregate.yaml:4:30: `methods` can't list `get`",
            "    4 |   - { path: admin, methods: [get, TRACE] }",
            "      |                              ^^^ expected a method in capitals such as `GET`; CONNECT and TRACE are always refused",
            "foregate.yaml:4:35: `methods` can't list `TRACE`",
            "    4 |   - { path: admin, methods: [get, TRACE] }",
            "      |                                   ^^^^^ expected a method in capitals such as `GET`; CONNECT and TRACE are always refused",
            "foregate.yaml:5:13: `path` can't be `/a*`",
            "    5 |   - { path: /a*, upstream: ap }",
            "      |             ^^^ expected `*` as a whole segment, and `**` as the last one alone",
            "foregate.yaml:5:28: there is no upstream `ap`",
            "    5 |   - { path: /a*, upstream: ap }",
            "      |                            ^^ did you mean `app`?",
            "foregate.yaml:7:8: `app` can't be `127.0.0.1:3000`",
            "    7 |   app: 127.0.0.1:3000",
            "      |        ^^^^^^^^^^^^^^ expected a server such as `http://127.0.0.1:3000`, `https://app:8443` or `unix:/run/app.sock`: no path and no user",
        ],
    );
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    told(
        &with(
            "identity_headers: { X-Header-0: fixed, X-Header-1: fixed, X-Header-2: fixed, X-Header-3: fixed, X-Header-4: fixed, X-Header-5: fixed, X-Header-6: fixed, X-Header-7: fixed, X-Header-8: fixed, X-Header-9: fixed, X-Header-10: fixed, X-Header-11: fixed, X-Last: '{user}' }",
        ),
        &[
            "foregate.yaml:1:259: `X-Last` can't be `{user}`",
            "    1 | eader-11: fixed, X-Last: '{user}' }",
            "      |                          ^^^^^^^^^ expected text with `{username}`, `{email}`, `{name}` or `{roles}` in it",
        ],
    );
}

#[test]
fn certificates_and_keys_that_can_not_be_used_are_told() {
    let directory = tempfile::tempdir().expect("a folder");
    let own = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    for (name, content) in [
        ("app.crt", own.cert.pem()),
        ("app.key", own.signing_key.serialize_pem()),
        ("other.key", other.serialize_pem()),
        ("empty.pem", "no PEM\n".to_owned()),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
    ] {
        std::fs::write(directory.path().join(name), content).expect("it is written");
    }
    let parse = |servers: &str, tls: &str| {
        let text = format!(
            "upstreams:\n  app:\n    servers: [{servers}]\n    tls: {{ {tls} }}\nroutes: [{{ path: /**, upstream: app }}]\n"
        );
        crate::config::Config::parse(&text, "foregate.yaml", &super::environment, directory.path())
    };
    for (tls, place, told) in [
        ("ca: gone.pem", (4, 16), "can't be read: there is no such file"),
        ("ca: .", (4, 16), "can't be read: Is a directory (os error 21)"),
        ("ca: empty.pem", (4, 16), "holds no PEM certificate"),
        ("ca: broken.pem", (4, 16), "holds a certificate that can't be read"),
        ("ca: app.crt, client_cert: app.crt", (4, 25), "`client_cert` stands without `client_key`"),
        ("ca: app.crt, client_key: app.key", (4, 25), "`client_key` stands without `client_cert`"),
        ("ca: app.crt, client_cert: app.key, client_key: app.key", (4, 38), "holds no PEM certificate"),
        ("ca: app.crt, client_cert: app.crt, client_key: app.crt", (4, 59), "holds no PEM private key"),
        (
            "ca: app.crt, client_cert: app.crt, client_key: gone",
            (4, 59),
            "can't be read: there is no such file",
        ),
        (
            "ca: app.crt, client_cert: app.crt, client_key: { file: other.key }",
            (4, 59),
            "holds a private key that does not match the certificate",
        ),
        ("ca: app.crt, server_name: 'a b'", (4, 38), "`server_name` can't be `a b`"),
    ] {
        let faults = parse("'https://a:1'", tls).expect_err(tls);
        let seen: Vec<_> = faults.iter().map(|fault| (fault.position(), fault.message())).collect();
        let [(position, message)] = seen[..] else { panic!("{tls}: {seen:?}") };
        assert_eq!(position, Some(place), "{tls}: {message}");
        assert!(message.ends_with(told), "{tls}: {message}");
        assert!(!faults.to_string().contains("PRIVATE KEY-----\n"), "{faults}");
    }
    let whole = "ca: app.crt, client_cert: app.crt, client_key: { file: app.key }, server_name: app.test";
    let config = |servers, tls| parse(servers, tls).unwrap_or_else(|faults| panic!("{faults}"));
    let first = config("'https://a:1'", whole);
    assert!(first.warnings.is_empty() && first.upstreams[0].tls.is_some());
    assert_eq!(first.upstreams, config("'https://a:1'", whole).upstreams);
    assert!(config("'http://a:1'", "ca: null").warnings.is_empty());
    let idle = config("'http://a:1'", whole);
    assert_eq!(idle.warnings.len(), 1, "{:?}", idle.warnings);

    // Another content under the same name is another upstream.
    let renewed = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
    std::fs::write(directory.path().join("app.crt"), renewed.cert.pem()).expect("it is written");
    std::fs::write(directory.path().join("app.key"), renewed.signing_key.serialize_pem())
        .expect("it is written");
    assert_ne!(first.upstreams, config("'https://a:1'", whole).upstreams);
}

#[test]
fn mail_faults() {
    let server = |url: &str| with(&format!("mail:\n  url: {url}\n  from: login@example.com"));
    told(
        &with("mail: {}"),
        &[
            "foregate.yaml:1:7: `url` is missing",
            "    1 | mail: {}",
            "      |       ^ expected what takes mails, such as `smtp://name:password@mail.example.com:587` or `file:./outbox`",
            "foregate.yaml:1:7: `from` is missing",
            "    1 | mail: {}",
            "      |       ^ expected who mails are from, such as `Example <login@example.com>`",
        ],
    );
    // A password may stand in it: neither it nor its line is shown.
    for (url, expected) in [
        (
            "http://user:hunter2@a",
            "expected `smtp://name:password@host:587`, `smtps://name:password@host` or `file:DIRECTORY`",
        ),
        (
            "smtp://user:hunter2@a:99999",
            "expected a port from 1 to 65535, such as `smtp://mail.example.com:587`",
        ),
        (
            "smtp://user:hunter2@a?tls=none",
            "expected `?tls=required`: over `tls=none` the password could be read on its way to another machine",
        ),
        (
            "smtp://hunter2@a",
            "expected a name and a password before the `@`, `smtp://name:password@host`; write `%40` for an `@` and `%25` for a `%` in them",
        ),
    ] {
        told(&server(url), &["foregate.yaml:2:8: `url` can't be this", &format!("      = {expected}")]);
    }
    told(
        &with("mail:\n  url: file:./outbox\n  from: Example"),
        &[
            "foregate.yaml:3:9: `from` can't be `Example`",
            "    3 |   from: Example",
            "      |         ^^^^^^^ expected an address, `login@example.com` or `Example <login@example.com>`",
        ],
    );
    told(
        &with("mail:\n  url: smtp://a\n  from: login@example.com\n  ca: /nowhere/ca.pem"),
        &[
            "foregate.yaml:4:7: there is no file `/nowhere/ca.pem`",
            "    4 |   ca: /nowhere/ca.pem",
            "      |       ^^^^^^^^^^^^^^^ expected a file with the certificates of your authorities in PEM, such as `ca.pem`",
        ],
    );
}

#[test]
fn an_assertion_that_nobody_could_verify_is_told() {
    told(
        "tokens: { algorithm: HS256 }\nupstreams:\n  app: { servers: [\"http://a:1\"], assertion: true }\nroutes: [{ path: /**, upstream: app }]\n",
        &[
            "foregate.yaml:3:35: `assertion` can't be with `tokens: { algorithm: HS256 }`: no upstream could verify it",
            "    3 |   app: { servers: [\"http://a:1\"], assertion: true }",
            "      |                                   ^^^^^^^^^ set `tokens: { algorithm: EdDSA }`, `ES256` or `RS256`",
        ],
    );
}

#[test]
fn where_tokens_stand_and_who_answers_for_them_is_told_in_place() {
    told(
        &with("tokens: { errors: werkzeug }"),
        &[
            "foregate.yaml:1:19: `errors` can't be `werkzeug`",
            "    1 | tokens: { errors: werkzeug }",
            "      |                   ^^^^^^^^ expected `problem` or `flask`",
        ],
    );
    let app = "upstreams: { app: http://a:1 }\nroutes:\n";
    told(
        &format!(
            "{app}  - {{ path: /a, upstream: app, token_locations: [cookie, cookies, query, query] }}\n"
        ),
        &[
            "foregate.yaml:3:50: no token gets into a cookie: `tokens.cookies` is not set",
            "    3 |   - { path: /a, upstream: app, token_locations: [cookie, cookies, query, query] }",
            "      |                                                  ^^^^^^ set `tokens: { cookies: true }`",
            "foregate.yaml:3:58: `token_locations` can't list `cookies`",
            "    3 |   - { path: /a, upstream: app, token_locations: [cookie, cookies, query, query] }",
            "      |                                                          ^^^^^^^ did you mean `cookie`?",
            "foregate.yaml:3:74: `token_locations` can't list `query`",
            "    3 |   - { path: /a, upstream: app, token_locations: [cookie, cookies, query, query] }",
            "      |                                                                          ^^^^^ expected each place once",
        ],
    );
    told(
        &format!(
            "{app}  - {{ path: /a, upstream: app, credentials: [session], token_locations: [query] }}\n"
        ),
        &[
            "foregate.yaml:3:56: no token counts on this route: `credentials` has no `bearer`",
            "    3 |   - { path: /a, upstream: app, credentials: [session], token_locations: [query] }",
            "      |                                                        ^^^^^^^^^^^^^^^ list `bearer` there as well, or leave this out",
        ],
    );
    told(
        &format!("{app}  - {{ path: /a, methods: [GET], token_endpoint: token }}\n"),
        &[
            "foregate.yaml:3:33: nobody can ask for a token here: `methods` has no `POST`",
            "    3 |   - { path: /a, methods: [GET], token_endpoint: token }",
            "      |                                 ^^^^^^^^^^^^^^ list `POST` there as well, or leave `methods` out",
        ],
    );
    let idle = |locations: &str| {
        let yaml =
            format!("tokens: {{ cookies: true }}\n{app}  - {{ path: /a, upstream: app{locations} }}\n");
        sound(&yaml).warnings.iter().map(ToString::to_string).collect::<String>()
    };
    assert_eq!(idle(", token_locations: [header, cookie]"), "");
    let told_of = idle("");
    assert!(
        told_of.contains("1:20: tokens are given in cookies, and no route takes one from there")
            && told_of.contains("list `cookie` in the `token_locations` of a route"),
        "{told_of}"
    );
    told(
        &format!("tokens: {{ refresh_ttl: 0 }}\n{app}  - {{ path: /a, token_endpoint: refresh }}\n"),
        &[
            "foregate.yaml:4:33: nobody has a refresh token: `tokens.refresh_ttl` is 0",
            "    4 |   - { path: /a, token_endpoint: refresh }",
            "      |                                 ^^^^^^^ leave this route out, or set `tokens: { refresh_ttl: 30d }`",
        ],
    );
    told(
        &format!("{app}  - {{ path: /a, upstream: app, token_endpoint: token }}\n"),
        &[
            "foregate.yaml:3:17: `upstream` has no meaning where Foregate itself answers",
            "    3 |   - { path: /a, upstream: app, token_endpoint: token }",
            "      |                 ^^^^^^^^ leave it out, or `token_endpoint`",
            "    3 |   - { path: /a, upstream: app, token_endpoint: token }",
            "      |                                ^^^^^^^^^^^^^^ foregate.yaml:3:32: it answers here",
        ],
    );
}
