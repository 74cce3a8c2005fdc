//! What is counted.

use super::*;

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let server = Server::start(Limits::default()).await;
    for _ in 0..2 {
        server.ask("GET", &host_path(""), None).await;
    }
    server.ask("GET", &format!("/v1/hosts/{UNKNOWN}"), None).await;
    server.ask("PUT", &host_path("/disable"), Some(&host_body())).await;
    server.ask("PUT", &host_path(""), None).await;
    server.ask("POST", &format!("/v1/instances/{INSTANCE}/vote"), None).await;
    server.ask("GET", "/nothing", None).await;
    server.ask("PATCH", &host_path(""), None).await;
    let shown = serde_json::to_value(&*server.counts).unwrap();
    let expected = serde_json::json!({
        "get_host": {"200": 2, "404": 1},
        "switch_host": {"200": 1, "400": 1},
        "vote": {"411": 1},
        "other": {"404": 1, "405": 1},
    });
    assert_eq!((&shown["requests"], &shown["connections"]), (&expected, &8.into()));
    let cells: Vec<_> = server.counts.requests.iter().collect();
    assert_eq!(cells.len(), 110);
    assert_eq!(cells.iter().map(|(.., count)| count).sum::<u64>(), 8);
    assert!(cells.contains(&("get_host", 200, 2)));
}
