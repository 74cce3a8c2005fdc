//! The controller against a socket that plays guestServer, and against the golden bytes.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::*;

const GOLDEN: &str = include_str!("../../../heartbeat-proto/testdata/datagrams.jsonl");
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONG: Duration = Duration::from_secs(10);

fn golden(direction: &str) -> Vec<(String, Vec<u8>, Value)> {
    let read = |line| -> Option<(String, Vec<u8>, Value)> {
        let entry: Value = serde_json::from_str(line).unwrap();
        let hex = entry["hex"].as_str()?.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let text = serde_json::from_str(entry["text"].as_str()?).unwrap_or_default();
        let name = entry["name"].as_str()?.to_string();
        (entry["direction"] == direction).then(|| (name, hex.map(byte).collect(), text))
    };
    GOLDEN.lines().filter_map(read).collect()
}

fn instance(text: &Value) -> InstanceId {
    text["uuid"].as_str().unwrap().parse().unwrap()
}

/// A controller and the socket of the server that it sends to.
fn pair(ip: IpAddr) -> (Controller, UdpSocket) {
    let controller = Controller::bind(ip).unwrap();
    let server = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    controller.set_server(server.local_addr().unwrap());
    (controller, server)
}

#[tokio::test]
async fn commands_are_the_golden_bytes() {
    let source: IpAddr = "127.0.0.2".parse().unwrap();
    let (controller, server) = pair(source);
    let mut names = Vec::new();
    for (name, bytes, text) in golden("agent to server") {
        match name.as_str() {
            "ADD_INST" => controller.add_instance(instance(&text), false),
            "MOD_INST" => controller.mod_instance(instance(&text), false),
            "DEL_INST" => controller.del_instance(instance(&text)),
            "QRY_INST" => controller.query(),
            "MOD_HOST" => {
                controller.mod_host(text["uuid"].as_str().unwrap().parse().unwrap(), true)
            }
            "VOTE_INST" => controller.vote(instance(&text), EventType::Stop),
            "NOTIFY_INST" => controller.notify(instance(&text), EventType::Pause),
            other => panic!("{other}"),
        }
        .unwrap();
        let mut buffer = [0; ROOM];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], bytes, "{name}");
        assert_eq!(from, SocketAddr::new(source, controller.port()));
        names.push(name);
    }
    assert_eq!(names.len(), 7);
}

#[tokio::test]
async fn golden_events_are_recorded_and_consumed_in_order() {
    let (controller, server) = pair(LOOPBACK);
    let events = golden("server to agent");
    for (_, bytes, _) in &events {
        server.send_to(bytes, (LOOPBACK, controller.port())).unwrap();
    }
    let loss = controller
        .wait_for("LOSS", LONG, |event| matches!(event, ServerEvent::Loss(_)))
        .await
        .unwrap();
    assert_eq!((loss.bytes.len(), loss.hostname.as_str()), (MAX_LEN, "vm"));
    assert_eq!(loss.from, server.local_addr().unwrap());
    let arrival = controller.next(LONG).await.unwrap();
    assert!(matches!(arrival.event, Ok(ServerEvent::MonitorReady)), "{arrival}");
    assert_eq!(arrival.text(), "{\"hostname\":\"vm\"}");
    crate::wait::until("all are there", LONG, || controller.arrivals().len() == events.len())
        .await
        .unwrap();
    for (arrival, (name, bytes, _)) in controller.arrivals().iter().zip(&events) {
        assert_eq!(arrival.event.as_ref().unwrap().name(), name);
        assert_eq!(&arrival.bytes, bytes);
    }
    assert_eq!(controller.drain().len(), events.len() - 3);
    let short = Duration::from_millis(5);
    let error = controller.next(short).await.unwrap_err().to_string();
    assert!(
        error.starts_with("no datagram at the controller within 5ms; there were 10"),
        "{error}"
    );
    assert!(error.contains(" LOSS Loss("), "{error}");
}

#[tokio::test]
async fn it_answers_whoever_spoke_last_and_knows_nonsense_when_it_sees_it() {
    let controller = Controller::bind(LOOPBACK).unwrap();
    let error = controller.query().unwrap_err().to_string();
    assert_eq!(error, "the controller knows no guestServer yet");
    let server = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    server.send_to(b"nonsense", (LOOPBACK, controller.port())).unwrap();
    let arrival = controller.next(LONG).await.unwrap();
    assert_eq!(arrival.event, Err("8 bytes, expected 100 to 1060".into()));
    assert_eq!((arrival.bytes.as_slice(), arrival.instance()), (&b"nonsense"[..], None));
    controller.send_raw(b"raw").unwrap();
    let mut buffer = [0; 10];
    assert_eq!(server.recv(&mut buffer).unwrap(), 3);
}
