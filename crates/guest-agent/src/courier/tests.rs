use heartbeat_proto::InstanceId;
use heartbeat_proto::control::REVISION;

use super::*;

const NOW: MonotonicTime = MonotonicTime::START;
const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::after_start(Duration::from_millis(millis))
}

fn numbered(epoch: u32, number: u32) -> Numbering {
    Numbering { revision: REVISION, epoch, number }
}

fn switch(number: u128) -> AgentCommand {
    AgentCommand::ModInstance { instance: InstanceId::from_u128(number), reporting: true }
}

/// Numbers that come one after the other.
fn random() -> impl FnMut() -> u32 {
    let mut last = 0;
    move || {
        last += 1;
        last
    }
}

fn drain(courier: &mut Courier, now: MonotonicTime) -> Vec<Sending> {
    std::iter::from_fn(|| courier.poll_sending(now)).collect()
}

#[test]
fn each_server_has_numbers_and_an_epoch_of_its_own_and_is_sent_again_what_it_has_not() {
    let (mut courier, mut random) = (Courier::default(), random());
    for host in [HOST, OTHER] {
        courier.handle_heard(NOW, host, numbered(9, 1), "compute", &mut random);
    }
    courier.push(NOW, HOST, switch(1), &mut random);
    courier.push(NOW, HOST, switch(2), &mut random);
    courier.push(NOW, OTHER, switch(3), &mut random);
    let sent = drain(&mut courier, NOW);
    let numbers: Vec<_> = sent.iter().map(|s| (s.to, s.transmit.numbering.number)).collect();
    assert_eq!(numbers, [(HOST, 1), (HOST, 2), (OTHER, 1)]);
    let epoch = |place: usize| sent[place].transmit.numbering.epoch;
    assert_ne!(epoch(0), epoch(2));
    assert_eq!(sent[0].name.as_deref(), Some("compute"));
    assert!(courier.handle_ack(at(1), Ack { epoch: epoch(0), number: 1, held: false }));
    assert!(courier.handle_ack(at(1), Ack { epoch: epoch(2), number: 1, held: false }));
    assert!(!courier.handle_ack(at(1), Ack { epoch: 4711, number: 2, held: false }));
    assert!(drain(&mut courier, at(1)).is_empty());
    assert_eq!(courier.poll_timeout(), Some(at(200)));
    let again = drain(&mut courier, at(200));
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].to, again[0].transmit.numbering.number), (HOST, 2));
    assert_eq!(courier.delivery(at(900), HOST), (Some(true), 1, Some(Duration::from_millis(899))));
    assert_eq!(courier.unacknowledged(at(20_000), Duration::from_secs(10)), (1, 1));
}

#[test]
fn one_that_is_not_known_to_acknowledge_is_sent_everything_once() {
    let (mut courier, mut random) = (Courier::default(), random());
    courier.push(NOW, HOST, switch(1), &mut random);
    let sent = drain(&mut courier, NOW);
    assert_eq!(sent[0].transmit.numbering.revision, REVISION, "it is shown that we would");
    assert_eq!(courier.poll_timeout(), None);
    courier.handle_heard(NOW, HOST, Numbering::NONE, "compute", &mut random);
    courier.push(NOW, HOST, switch(1), &mut random);
    assert_eq!(drain(&mut courier, NOW)[0].transmit.numbering, Numbering::NONE);
    assert_eq!((courier.poll_timeout(), courier.delivery(NOW, HOST).0), (None, Some(false)));
}

#[test]
fn an_event_that_is_held_is_acknowledged_as_done_once() {
    let mut courier = Courier::default();
    let from = SocketAddr::new(HOST, 2411);
    let event = ServerEvent::Loss(InstanceId::from_u128(1));
    let Verdict::Fresh(receipt) = courier.examine(NOW, from, numbered(9, 4)) else {
        panic!("not fresh")
    };
    let held = courier.handle_taken(NOW, receipt, &event, true);
    assert_eq!(held, Ack { epoch: 9, number: 4, held: true });
    assert_eq!(courier.held(), 1);
    let done = courier.handle_released(&receipt);
    assert_eq!(done, Some(Ack { held: false, ..held }));
    assert_eq!(courier.handle_released(&receipt), None);
    let double = courier.examine(NOW, from, numbered(9, 4));
    assert_eq!(double, Verdict::Double { receipt, held: false });
}

#[test]
fn servers_are_bounded_and_the_one_with_the_least_on_its_way_goes() {
    let (mut courier, mut random) = (Courier::default(), random());
    let ip = |number: usize| {
        let number = u32::try_from(number).unwrap();
        IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + number))
    };
    for number in 0..=MAX_SERVERS {
        courier.handle_heard(NOW, ip(number), numbered(9, 1), "compute", &mut random);
        if number != 77 {
            courier.push(NOW, ip(number), switch(1), &mut random);
        }
        drain(&mut courier, NOW);
    }
    assert_eq!(courier.servers.len(), MAX_SERVERS);
    assert_eq!(courier.by_epoch.len(), MAX_SERVERS);
    assert!(!courier.servers.contains_key(&ip(77)));
    assert!(courier.due.len() <= MAX_SERVERS && courier.ready.is_empty());
}
