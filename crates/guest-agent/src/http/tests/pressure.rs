//! Many at once.

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn six_hundred_connections_at_once() {
    let server = Arc::new(Server::start(Limits::default()).await);
    let mut clients = JoinSet::new();
    for _ in 0..600 {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            let mut client = server.connect().await;
            client.send(request("GET", &host_path(""), None).as_bytes()).await;
            let reply = client.reply().await;
            // All stay open, as far as the server lets them.
            (reply.status, client)
        });
    }
    let clients = clients.join_all().await;
    assert!(clients.iter().all(|(status, _)| *status == 200));
    eventually(|| server.counts.connections.get() == 600).await;
    assert!(server.counts.connections_evicted.get() >= 88);
    assert!(server.counts.connections_evicted.get() <= 89);
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn the_one_that_is_idle_longest_makes_room() {
    let server = Server::start(Limits { connections: 3, ..Limits::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send(request("GET", &host_path(""), None).as_bytes()).await;
        assert_eq!(client.reply().await.status, 200);
        clients.push(client);
    }
    // The first one is used again: now the second is idle longest.
    clients[0].send(request("GET", &host_path(""), None).as_bytes()).await;
    assert_eq!(clients[0].reply().await.status, 200);
    server.assert_undisturbed().await;
    clients[1].assert_closed().await;
    for index in [0, 2] {
        clients[index].send(request("GET", &host_path(""), None).as_bytes()).await;
        assert_eq!(clients[index].reply().await.status, 200);
    }
    assert_eq!(server.counts.connections_evicted.get(), 1);
}

#[tokio::test]
async fn clients_that_hold_every_connection_hold_it_for_the_header_time_only() {
    let limits =
        Limits { connections: 4, header_time: Duration::from_millis(100), ..Limits::default() };
    let server = Server::start(limits).await;
    let mut stubborn = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send(b"GET /").await;
        stubborn.push(client);
    }
    server.assert_undisturbed().await;
    assert!(server.counts.connections_waited.get() > 0);
}

#[tokio::test]
async fn a_busy_pipeline_does_not_hold_up_others() {
    let server = Arc::new(Server::start(Limits::default()).await);
    let mut busy = server.connect().await;
    let all = request("PUT", &host_path("/enable"), Some(&host_body())).repeat(200);
    let flood = tokio::spawn(async move {
        // Until the other one is through.
        loop {
            busy.send(all.as_bytes()).await;
            for _ in 0..200 {
                busy.reply().await;
            }
        }
    });
    for _ in 0..100 {
        server.assert_undisturbed().await;
    }
    flood.abort();
}

#[tokio::test]
async fn a_stopped_main_loop_closes_everything() {
    let (server, requests) = Server::start_alone(Limits::default());
    let mut idle = server.connect().await;
    let mut waiting = server.connect().await;
    waiting.send(request("GET", &host_path(""), None).as_bytes()).await;
    eventually(|| !requests.is_empty()).await;
    drop(requests);
    idle.assert_closed().await;
    let rest = timeout(PATIENCE, waiting.stream.read_to_end(&mut waiting.buffer)).await;
    let _ = rest.expect("still open");
    let refused = timeout(PATIENCE, async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    refused.await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = bind(listener.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
