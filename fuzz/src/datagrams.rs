//! What goes between hosts.

use heartbeat_proto::control::{
    AgentCommand, Datagram, HEADER_LEN, Hosted, Length, MAX_LEN, MaintenanceCommand, PayloadError,
    ServerEvent, Signature, code,
};
use heartbeat_proto::guest::MAX_LOG_MSG;

/// What is no datagram is refused; what is one says the same when it is written and read again, at
/// either length.
pub fn datagram(data: &[u8]) {
    let Ok(datagram) = Datagram::decode(data) else { return };
    assert!((HEADER_LEN..=MAX_LEN).contains(&data.len()));
    assert!(datagram.text.len() <= MAX_LEN - HEADER_LEN && !datagram.text.contains('\0'));
    assert!(datagram.sender.len() <= 46 && !datagram.sender.contains('\0'));
    let mut bytes = vec![0xff; 7];
    for length in [Length::Fitting, Length::Full] {
        datagram.encode(length, &mut bytes);
        assert!((HEADER_LEN..=MAX_LEN).contains(&bytes.len()));
        let again = Datagram::decode(&bytes).map(|again| Datagram { text: "", ..again });
        assert_eq!(again, Ok(Datagram { text: "", ..datagram }));
        // A text that leaves no room for a final zero is cut.
        let text = Datagram::decode(&bytes).map(|again| again.text).unwrap_or_default();
        assert!(datagram.text.starts_with(text));
        let cut = datagram.text.len() - text.len();
        assert!(if datagram.text.len() == MAX_LEN - HEADER_LEN { cut <= 4 } else { cut == 0 });
    }
    // Whoever reads it knows what to do with it, or refuses it.
    let _ = AgentCommand::decode(&datagram).map_err(|error| refused(&error));
    let _ = ServerEvent::decode(&datagram).map_err(|error| refused(&error));
    let _ = MaintenanceCommand::decode(&datagram).map_err(|error| refused(&error));
}

/// What is refused is refused with a short text, for it goes to the log.
fn refused(error: &PayloadError) {
    if let PayloadError::Value { value, .. } = error {
        assert!(value.len() <= 64);
    }
    assert!(error.to_string().len() <= 600, "{error}");
}

/// A datagram of one of these commands, which the first byte picks, and the rest as its text.
fn payload<'a>(codes: &[u32], signature: Signature, data: &'a [u8]) -> Option<Datagram<'a>> {
    let (first, text) = data.split_first()?;
    let command = codes[usize::from(*first) % codes.len()];
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_LEN - HEADER_LEN)?;
    Some(Datagram::plain(signature, command, text))
}

/// A command to a guestServer is refused, or is the same when it is written and read again.
pub fn agent_command(data: &[u8]) {
    const CODES: [u32; 9] = [
        code::MOD_HOST,
        code::ADD_INST,
        code::MOD_INST,
        code::DEL_INST,
        code::QRY_INST,
        code::VOTE_INST,
        code::NOTIFY_INST,
        code::LOOPBACK,
        0,
    ];
    let Some(datagram) = payload(&CODES, Signature::GuestMessage, data) else { return };
    match AgentCommand::decode(&datagram) {
        Ok(command) => {
            assert_eq!(command.code(), datagram.command);
            assert!(AgentCommand::NAMES.contains(&command.name()));
            command.with_datagram("2001:db8::2", |sent| {
                assert!(sent.text.len() < MAX_LEN - HEADER_LEN, "{} bytes", sent.text.len());
                let again = AgentCommand::decode(sent).ok();
                assert_eq!(again.as_ref(), Some(&command));
            });
        }
        Err(error) => refused(&error),
    }
}

/// The longest name of a host that Linux knows; a guestServer sends its own.
const MAX_HOSTNAME: usize = 64;

/// An event of a guestServer's is refused, or is the same when it is written and read again; but for
/// the reason of a vote, which is cut where there is no room for it.
pub fn server_event(data: &[u8]) {
    const CODES: [u32; 8] = [
        code::MONITOR_READY,
        code::QRY_INST,
        code::RUNNING,
        code::STOPPED,
        code::ILLHEALTH,
        code::LOSS,
        code::VOTE_NOTIFY,
        0,
    ];
    let Some(datagram) = payload(&CODES, Signature::None, data) else { return };
    let Hosted { hostname, event } = match ServerEvent::decode(&datagram) {
        Ok(hosted) => hosted,
        Err(error) => return refused(&error),
    };
    assert_eq!(event.code(), datagram.command);
    assert!(ServerEvent::NAMES.contains(&event.name()));
    if hostname.len() > MAX_HOSTNAME || hostname.chars().any(char::is_control) {
        return;
    }
    event.with_datagram(&hostname, |sent| {
        assert!(sent.text.len() < MAX_LEN - HEADER_LEN, "{} bytes", sent.text.len());
        let again = ServerEvent::decode(sent).ok();
        assert!(again.is_some(), "cannot be read again: {}", sent.text);
        let Some(Hosted { hostname: named, event: again }) = again else { return };
        assert_eq!(named, hostname);
        match (again, &event) {
            (ServerEvent::VoteNotify(instance, again), ServerEvent::VoteNotify(other, vote)) => {
                assert!(vote.reason.len() <= MAX_LOG_MSG);
                assert!(vote.reason.starts_with(&*again.reason));
                assert_eq!(instance, *other);
                assert_eq!(again.event_type, vote.event_type);
                assert_eq!(again.notification_type, vote.notification_type);
                assert_eq!(again.vote, vote.vote);
            }
            (again, event) => assert_eq!(again, *event),
        }
    });
}

/// A command of the maintenance system's is refused, or read; whatever is kept of it stood in it.
pub fn maintenance_command(data: &[u8]) {
    const CODES: [u32; 4] = [code::ADD_HOST, code::MOD_HOST, code::DEL_HOST, 0];
    let Some(datagram) = payload(&CODES, Signature::MaintenanceCommand, data) else { return };
    match MaintenanceCommand::decode(&datagram) {
        Ok(MaintenanceCommand::AddHost(host) | MaintenanceCommand::ModHost(host)) => {
            let kept = host.hostname.len() + host.ip.len() + host.personality.len();
            assert!(kept <= datagram.text.len());
            let again = serde_json::to_string(&host).unwrap_or_default();
            let command = datagram.command;
            let again = Datagram { command, text: &again, ..datagram };
            let same = match MaintenanceCommand::decode(&again) {
                Ok(MaintenanceCommand::AddHost(again)) => {
                    command == code::ADD_HOST && again == host
                }
                Ok(MaintenanceCommand::ModHost(again)) => {
                    command == code::MOD_HOST && again == host
                }
                Ok(MaintenanceCommand::DelHost { .. }) | Err(_) => false,
            };
            assert!(same, "not the same again: {host:?}");
        }
        Ok(MaintenanceCommand::DelHost { hostname, .. }) => {
            assert_eq!(datagram.command, code::DEL_HOST);
            assert!(hostname.len() <= datagram.text.len());
        }
        Err(error) => refused(&error),
    }
}
