use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn ask(vim: &Vim, request: &str) -> String {
    let mut stream = TcpStream::connect(vim.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn patch(kind: &str) -> String {
    let body = format!("{{\"event-type\":\"{kind}\",\"hostname\":\"vm\"}}");
    let length = body.len();
    format!("PATCH /nfvi-plugins/v1/instances/x HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn an_event_is_answered_with_nothing_and_an_alarm_without_a_length() {
    let vim = Vim::start(LOCALHOST).unwrap();
    assert_eq!(ask(&vim, &patch("service")), "");
    let alarm = ask(&vim, &patch("alarm"));
    assert!(alarm.starts_with("HTTP/1.0 200 OK\r\n") && alarm.contains("admin_state"), "{alarm}");
    assert!(!alarm.to_lowercase().contains("content-length"));
    assert_eq!(vim.requests().len(), 2);
}

#[test]
fn hosts_and_their_instances_are_told() {
    let vim = Vim::start(LOCALHOST).unwrap();
    let (host, instance) = (HostId::from_u128(1), InstanceId::from_u128(2));
    vim.set_host(host, "compute-0", true);
    vim.set_instance(host, instance, false);
    let state = ask(&vim, &format!("GET /nfvi-plugins/v1/hosts/{host} HTTP/1.1\r\n\r\n"));
    assert!(
        state.ends_with("\"state\":\"enabled\",\"uuid\":\"00000000-0000-0000-0000-000000000001\"}")
    );
    let path = format!("/nfvi-plugins/v1/instances/?host_uuid={host}");
    let list = ask(&vim, &format!("GET {path} HTTP/1.1\r\n\r\n"));
    assert!(list.contains(&instance.to_string()) && list.contains("disabled"), "{list}");
    assert_eq!(ask(&vim, "GET /nfvi-plugins/v1/hosts/nobody HTTP/1.1\r\n\r\n"), "");
}

#[test]
fn it_can_be_away_and_come_back() {
    let vim = Vim::start(LOCALHOST).unwrap();
    vim.leave();
    let start = Instant::now();
    while TcpStream::connect(vim.address).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "still there");
    }
    vim.come_back();
    while TcpStream::connect(vim.address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "not back");
    }
    assert_eq!(ask(&vim, &patch("service")), "");
}

#[test]
fn moods_change_the_answer() {
    let vim = Vim::start(LOCALHOST).unwrap();
    vim.set_mood(Mood::Status(500));
    assert!(ask(&vim, &patch("alarm")).starts_with("HTTP/1.0 500 "));
    vim.set_mood(Mood::HalfAnswer);
    assert_eq!(ask(&vim, &patch("alarm")), "HTTP/1.0 20");
    vim.set_mood(Mood::Hanging);
    let mut stream = TcpStream::connect(vim.address).unwrap();
    stream.write_all(patch("alarm").as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it hangs");
    vim.set_mood(Mood::Normal);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
}
