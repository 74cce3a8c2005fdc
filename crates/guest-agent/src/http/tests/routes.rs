//! Every route, method and status.

use serde_json::json;

use super::*;

fn instance_path(uuid: &str, rest: &str) -> String {
    format!("/v1/instances/{uuid}{rest}")
}

fn instance_body(uuid: &str, hostname: &str, services: &str) -> String {
    format!(r#"{{"uuid":"{uuid}","hostname":"{hostname}","services":{services}}}"#)
}

fn services(hostname: &str, state: &str) -> Value {
    json!({"uuid": INSTANCE, "hostname": hostname, "services":
        [{"service": "heartbeat", "state": state, "restart-timeout": "0", "status": "disabled"}]})
}

#[tokio::test]
async fn hosts() {
    let server = Server::start(Limits::default()).await;
    let pass = json!({"status": "pass"});
    let state = |state: &str| json!({"uuid": HOST, "hostname": "compute-0", "state": state});
    let body = host_body();
    for (method, rest, body, expected) in [
        ("POST", "", None, &pass),
        ("POST", "", Some(&*body), &pass),
        ("GET", "", None, &state("disabled")),
        ("PUT", "/enable", Some(&*body), &pass),
        ("GET", "", None, &state("enabled")),
        ("GET", "/enable", None, &state("enabled")),
        ("GET", "/disable", Some(&*body), &state("enabled")),
        ("GET", "/disable", Some("anything \u{fffd}"), &state("enabled")),
        ("GET", "?verbose=1", None, &state("enabled")),
        ("PUT", "/disable", Some(&*body), &pass),
        ("GET", "", None, &state("disabled")),
    ] {
        let reply = server.ask(method, &host_path(rest), body).await;
        assert_eq!((reply.status, &reply.json()), (200, expected), "{method} {rest}");
    }
    for uuid in [HOST, UNKNOWN] {
        let reply = server.ask("DELETE", &format!("/v1/hosts/{uuid}"), None).await;
        assert_eq!((reply.status, reply.body.len(), reply.header("content-type")), (204, 0, None));
    }
    server.assert_undisturbed().await;
    for (method, rest, body) in [
        ("POST", "", None),
        ("GET", "", None),
        ("GET", "/enable", None),
        ("PUT", "/enable", Some("compute-9")),
        ("PUT", "/disable", Some("compute-9")),
    ] {
        let body = body.map(|name| format!(r#"{{"uuid":"{UNKNOWN}","hostname":"{name}"}}"#));
        let path = format!("/v1/hosts/{UNKNOWN}{rest}");
        let reply = server.ask(method, &path, body.as_deref()).await;
        reply.assert_fails(404, "entity not found");
    }
}

#[tokio::test]
async fn instances() {
    let server = Server::start(Limits::default()).await;
    let path = instance_path(INSTANCE, "");
    let ask = async |method, body: Option<&str>| server.ask(method, &path, body).await;

    ask("GET", None).await.assert_fails(404, "entity not found");
    ask("DELETE", None).await.assert_fails(404, "entity not found");
    let add = instance_body(INSTANCE, "compute-0", r#"["heartbeat"]"#);
    let reply = ask("POST", Some(&add)).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"status": "pass"})));
    assert_eq!(ask("GET", None).await.json(), services("compute-0", "disabled"));

    let on = r#"[{"service":"heartbeat","state":"enabled","more":1}]"#;
    let reply = ask("PATCH", Some(&instance_body(INSTANCE, "compute-0", on))).await;
    assert_eq!((reply.status, reply.json()), (200, services("compute-0", "enabled")));
    let moved = instance_body(INSTANCE, "compute-1", r#"[{"service":"heartbeat"}]"#);
    assert_eq!(ask("POST", Some(&moved)).await.status, 200);
    assert_eq!(ask("GET", None).await.json(), services("compute-1", "enabled"));

    let elsewhere = instance_body(INSTANCE, "compute-9", r#"["heartbeat"]"#);
    ask("POST", Some(&elsewhere)).await.assert_fails(400, "invalid data");
    let elsewhere = instance_body(INSTANCE, "compute-9", on);
    ask("PATCH", Some(&elsewhere)).await.assert_fails(404, "entity not found");
    for (list, reason) in [
        (r#"[{"service":"ping","state":"enabled"}]"#, "invalid data"),
        (r#"[{"service":"heartbeat","state":"on"}]"#, "bad state"),
        (r#"[{"service":"heartbeat"}]"#, "command parse error"),
    ] {
        let body = instance_body(INSTANCE, "compute-0", list);
        ask("PATCH", Some(&body)).await.assert_fails(400, reason);
    }
    assert_eq!(ask("GET", None).await.json(), services("compute-1", "enabled"), "unchanged");

    let reply = ask("DELETE", None).await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    ask("GET", None).await.assert_fails(404, "entity not found");
}

#[tokio::test]
async fn votes_and_notifications() {
    let server = Server::start(Limits::default()).await;
    let added = instance_body(INSTANCE, "compute-0", r#"["heartbeat"]"#);
    assert_eq!(server.ask("POST", &instance_path(INSTANCE, ""), Some(&added)).await.status, 200);
    let act = async |uuid, rest, action: &str| {
        let body = json!({"uuid": uuid, "hostname": "compute-0", "action": action}).to_string();
        server.ask("POST", &instance_path(uuid, rest), Some(&body)).await
    };
    for (uuid, rest, action, seconds) in [
        (ALIVE, "/vote", "stop", "14"),
        (ALIVE, "/vote", "anything", "14"),
        (ALIVE, "/notify", "reboot", "11"),
        (ALIVE, "/notify", "resize_begin", "12"),
        (ALIVE, "/notify", "resize_end", "13"),
        (ALIVE, "/notify", "anything", "14"),
        (INSTANCE, "/vote", "stop", "0"),
        (INSTANCE, "/notify", "stop", "0"),
    ] {
        let reply = act(uuid, rest, action).await;
        let expected =
            json!({"uuid": uuid, "hostname": "compute-0", "action": action, "timeout": seconds});
        assert_eq!((reply.status, reply.json()), (200, expected));
    }
    let alive = server.ask("GET", &instance_path(ALIVE, ""), None).await;
    assert_eq!(alive.json()["services"][0]["restart-timeout"], "121");
    for rest in ["/vote", "/notify"] {
        act(UNKNOWN, rest, "stop").await.assert_fails(404, "entity not found");
        act(ALIVE, rest, "").await.assert_fails(400, "invalid data");
    }
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths() {
    let server = Server::start(Limits::default()).await;
    let instance = |rest| instance_path(INSTANCE, rest);
    for (method, path, allowed) in [
        ("PATCH", host_path(""), "delete, get, post, put"),
        ("HEAD", host_path(""), "delete, get, post, put"),
        ("OPTIONS", host_path(""), "delete, get, post, put"),
        ("POST", host_path("/enable"), "get, put"),
        ("DELETE", host_path("/disable"), "get, put"),
        ("PUT", instance(""), "delete, get, patch, post"),
        ("BREW", instance(""), "delete, get, patch, post"),
        ("GET", instance("/vote"), "post"),
        ("PUT", instance("/notify"), "post"),
        ("GET", "/v1/instances/odd/vote".into(), "post"),
    ] {
        let mut client = server.connect().await;
        client.send(request(method, &path, Some("{}")).as_bytes()).await;
        let reply = client.reply_to(method).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{method} {path}");
        if method != "HEAD" {
            reply.assert_fails(405, "unsupported http command");
        }
        // The connection goes on.
        client.send(request("GET", &host_path(""), None).as_bytes()).await;
        assert_eq!(client.reply().await.status, 200);
    }
    for path in ["/", "/v1/hosts", "/v1/instances/", "/v1/guests/x", "*", "/v1/hosts/x/y/z"] {
        server.ask("OPTIONS", path, Some("{}")).await.assert_fails(404, "entity not found");
    }
    // A whole URL means its path.
    let path = format!("http://localhost:2410{}", host_path(""));
    assert_eq!(server.ask("GET", &path, None).await.status, 200);
    server.ask("PUT", &host_path(""), Some(&host_body())).await.assert_fails(400, "invalid data");
    server.ask("PUT", &host_path(""), None).await.assert_fails(400, "invalid data");
}

#[tokio::test]
async fn identifiers_that_are_none_or_others() {
    let server = Server::start(Limits::default()).await;
    for uuid in ["x", "%7Bx%7D", &HOST.to_uppercase(), &HOST.replace('-', ""), "..", &HOST[1..]] {
        for (method, path) in [
            ("GET", format!("/v1/hosts/{uuid}")),
            ("POST", format!("/v1/hosts/{uuid}")),
            ("DELETE", format!("/v1/hosts/{uuid}")),
            ("PUT", format!("/v1/hosts/{uuid}/enable")),
            ("GET", instance_path(uuid, "")),
            ("DELETE", instance_path(uuid, "")),
            ("POST", instance_path(uuid, "")),
            ("PATCH", instance_path(uuid, "")),
            ("POST", instance_path(uuid, "/vote")),
        ] {
            let reply = server.ask(method, &path, Some("{}")).await;
            if method == "POST" && path.ends_with(uuid) && path.contains("hosts") {
                assert_eq!(reply.status, 400);
            } else {
                reply.assert_fails(400, "invalid data");
            }
        }
    }
    for other in [UNKNOWN, "x", "", &HOST.to_uppercase()] {
        let body = json!({"uuid": other, "hostname": "compute-0", "action": "stop",
            "services": ["heartbeat"]})
        .to_string();
        for (method, path) in [
            ("POST", host_path("")),
            ("PUT", host_path("/enable")),
            ("POST", instance_path(INSTANCE, "")),
            ("PATCH", instance_path(INSTANCE, "")),
            ("POST", instance_path(INSTANCE, "/vote")),
            ("POST", instance_path(INSTANCE, "/notify")),
        ] {
            let reply = server.ask(method, &path, Some(&body)).await;
            reply.assert_fails(400, "invalid data");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_missing_or_make_no_sense() {
    let server = Server::start(Limits::default()).await;
    let needing = [
        ("PUT", host_path("/enable"), &["hostname"][..]),
        ("PUT", host_path("/disable"), &["hostname"]),
        ("POST", instance_path(HOST, ""), &["hostname", "services"]),
        ("PATCH", instance_path(HOST, ""), &["hostname", "services"]),
        ("POST", instance_path(HOST, "/vote"), &["hostname", "action"]),
        ("POST", instance_path(HOST, "/notify"), &["hostname", "action"]),
    ];
    let whole = json!({"uuid": HOST, "hostname": "compute-0", "action": "stop",
        "services": ["heartbeat"]});
    for (method, path, keys) in &needing {
        server.ask(method, path, None).await.assert_fails(411, "no buffer");
        server.ask(method, path, Some("")).await.assert_fails(411, "no buffer");
        for key in keys.iter().chain(&["uuid"]) {
            let mut body = whole.clone();
            body.as_object_mut().unwrap().remove(*key);
            let reply = server.ask(method, path, Some(&body.to_string())).await;
            reply.assert_fails(400, "command parse error");
            for odd in [json!(null), json!(1), json!({}), json!([[1]])] {
                body[key] = odd;
                let reply = server.ask(method, path, Some(&body.to_string())).await;
                reply.assert_fails(400, "command parse error");
            }
        }
    }
    let deep = "[".repeat(60_000);
    let array = json!([HOST, "compute-0", ["heartbeat"]]).to_string();
    for text in
        ["x", "null", "7", "\"x\"", " ", "{", "{}{}", "{\"uuid\":\"\\ud800\"}", &deep, &array]
    {
        for (method, path, _) in needing.iter().chain(&[("POST", host_path(""), &[][..])]) {
            let reply = server.ask(method, path, Some(text)).await;
            reply.assert_fails(400, "command parse error");
        }
    }
    for list in [r#"[["heartbeat","enabled"]]"#, r#"[{"service":"heartbeat","state":1}]"#, "[1]"] {
        let body = instance_body(INSTANCE, "compute-0", list);
        let reply = server.ask("PATCH", &instance_path(INSTANCE, ""), Some(&body)).await;
        reply.assert_fails(400, "command parse error");
    }
    let many = serde_json::to_string(&["heartbeat"; 17]).unwrap();
    let body = instance_body(INSTANCE, "compute-0", &many);
    let reply = server.ask("POST", &instance_path(INSTANCE, ""), Some(&body)).await;
    reply.assert_fails(400, "invalid data");
    let reply = server.ask("GET", &instance_path(INSTANCE, ""), None).await;
    reply.assert_fails(404, "entity not found");
}

#[tokio::test]
async fn only_the_vim_or_who_does_not_say() {
    let server = Server::start(Limits::default()).await;
    for agents in ["", "User-Agent: vim/1.0\r\n"] {
        let text = format!("GET {} HTTP/1.1\r\nHost: x\r\n{agents}\r\n", host_path(""));
        assert_eq!(server.ask_raw(text.as_bytes()).await.status, 200);
    }
    for agents in [
        "User-Agent: curl/8.0\r\n",
        "User-Agent:\r\n",
        "User-Agent: vim/1.0 (x)\r\n",
        "User-Agent: Vim/1.0\r\n",
        "User-Agent: vim/1.0\r\nUser-Agent: curl\r\n",
        "User-Agent: \u{e9}\r\n",
    ] {
        for (method, path) in [("GET", host_path("")), ("PATCH", "/nothing".into())] {
            let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{agents}\r\n");
            server.ask_raw(text.as_bytes()).await.assert_fails(403, "invalid data");
        }
    }
}
