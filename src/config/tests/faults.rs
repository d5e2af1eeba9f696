//! What faulty files are told, word for word.

use super::{told, with};

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
            "      | ^^^^^^ expected `listen`, `tls`, `public_url`, `trusted_proxies`, `store`, `portal`, `session`, `cache`, `password`, `tokens`, `identity_headers`, `limits`, `upstreams`, `routes`, `admin` or `log`",
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
        "upstreams: { app: https://a:1, other: { servers: [http://b/x, 'unix:/b'] } }\nroutes: [{ path: /, upstream: app }]\n",
        &[
            "foregate.yaml:1:19: `app` can't be `https://a:1`",
            "    1 | upstreams: { app: https://a:1, other: { servers: [http://b/x, 'unix:/b'] } }",
            "      |                   ^^^^^^^^^^^ expected `http://host:port`: TLS to upstreams is not supported yet",
            "foregate.yaml:1:51: `servers` can't list `http://b/x`",
            "    1 | upstreams: { app: https://a:1, other: { servers: [http://b/x, 'unix:/b'] } }",
            "      |                                                   ^^^^^^^^^^ expected a server such as `http://127.0.0.1:3000`: no path and no user",
            "foregate.yaml:1:63: `servers` can't list `unix:/b`",
            "    1 | upstreams: { app: https://a:1, other: { servers: [http://b/x, 'unix:/b'] } }",
            "      |                                                               ^^^^^^^^^ expected `http://host:port`: Unix sockets are not supported yet",
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
            "      |        ^^^^^^^^^^^^^^ expected a server such as `http://127.0.0.1:3000`: no path and no user",
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
