//! Answers a request as the real VIM does, or as it is told to.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HostEntry, Mood, Shared, VimRequest};

/// How often a VIM that hangs looks whether it still does.
const HANGING: Duration = Duration::from_millis(20);

/// Reads one request and answers it.
pub(super) fn serve(shared: &Shared, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    if shared.lock().mood == Mood::Breaking {
        return;
    }
    let Some(request) = VimRequest::read(&mut stream, shared.started) else { return };
    let answer = normal(shared, &request);
    shared.requests.add(|| request);
    let since = Instant::now();
    loop {
        let mood = {
            let state = shared.lock();
            if state.ending {
                return;
            }
            state.mood
        };
        match mood {
            Mood::Normal => break,
            Mood::Hanging => shared.wait(HANGING),
            Mood::Slow(time) => {
                let left = time.saturating_sub(since.elapsed());
                if left.is_zero() {
                    break;
                }
                shared.wait(left);
            }
            Mood::Status(status) => {
                let body = r#"{"reason":"told to"}"#;
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.0 {status} Told\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                return;
            }
            Mood::HalfAnswer => {
                let _ = stream.write_all(b"HTTP/1.0 20");
                return;
            }
            Mood::Breaking => return,
        }
    }
    if let Some(body) = answer {
        // No Content-Length: the end of the connection is the end of the body. Made first, then sent:
        // a list of instances has thousands of pieces.
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes());
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// What the real one says; `None` for a connection that closes without a byte.
fn normal(shared: &Shared, request: &VimRequest) -> Option<Value> {
    if request.method == "PATCH" {
        return (request.event_type() == "alarm").then(|| {
            json!({"uuid": request.instance(), "hostname": request.json()["hostname"], "admin_state": "unlocked"})
        });
    }
    let state = shared.lock();
    if let Some(id) = request.path.strip_prefix("/nfvi-plugins/v1/hosts/") {
        let (_, host) = state.hosts.iter().find(|(host, _)| host.to_string() == id)?;
        let word = if host.enabled { "enabled" } else { "disabled" };
        return Some(json!({"uuid": id, "hostname": host.hostname, "state": word}));
    }
    let id = request.path.strip_prefix("/nfvi-plugins/v1/instances/?host_uuid=")?;
    let (_, host) = state.hosts.iter().find(|(host, _)| host.to_string() == id)?;
    Some(json!({"instances": instances(host)}))
}

fn instances(host: &HostEntry) -> Vec<Value> {
    let listed = |(instance, enabled): (&heartbeat_proto::InstanceId, &bool)| {
        let state = if *enabled { "enabled" } else { "disabled" };
        json!({
            "uuid": instance.to_string(), "hostname": host.hostname,
            "services": [{"service": "heartbeat", "state": state}],
        })
    };
    host.instances.iter().map(listed).collect()
}
