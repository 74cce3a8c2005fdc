//! The connection to a guest that does not behave.

use heartbeat_proto::guest::HostMessage;
use heartbeat_proto::session::{Reporting, Settings};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::link::MAX_UNSENT;
use super::*;
use crate::metrics::Metrics;

fn session() -> Session {
    let reporting = Reporting { host: true, instance: true };
    Session::new(Settings::default(), reporting, false)
}

fn challenge() -> HostMessage {
    HostMessage::Challenge { heartbeat_challenge: 7 }
}

fn nack() -> HostMessage {
    HostMessage::Nack { invocation_id: 0, log_msg: "x".repeat(200).as_str().into() }
}

/// A link whose other end has been written to until it takes no more.
fn stalled(metrics: &Metrics) -> (Link, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut link = Link::new(ours, 1, MonotonicTime::START);
    let skipped = || metrics.challenges_skipped.get() + metrics.messages_skipped.get();
    while skipped() == 0 {
        link.send(1, &nack(), metrics);
        link.flush().unwrap();
    }
    (link, theirs)
}

#[tokio::test]
async fn a_guest_that_reads_nothing_costs_a_bounded_amount_and_no_challenge_waits() {
    let metrics = Metrics::default();
    let (mut link, _theirs) = stalled(&metrics);
    let sent = metrics.challenges.get();
    for sequence in 0..10_000 {
        link.send(sequence, &challenge(), &metrics);
        link.send(sequence, &nack(), &metrics);
        link.flush().unwrap();
        assert!(link.unsent() <= MAX_UNSENT);
    }
    assert_eq!(metrics.challenges.get(), sent, "none was written");
    assert_eq!(metrics.challenges_skipped.get(), 10_000);
}

#[tokio::test]
async fn what_waited_goes_out_when_the_guest_reads_again_and_challenges_with_it() {
    let metrics = Metrics::default();
    let (mut link, theirs) = stalled(&metrics);
    let mut session = session();
    let clock = Clock::start();
    let mut drained = vec![0; 1 << 20];
    let unsent = async {
        while link.unsent() > 0 {
            let input = link.input(clock, &mut session, &metrics);
            let patience = std::time::Duration::from_millis(5);
            let _ = tokio::time::timeout(patience, input).await;
        }
    };
    let reader = async {
        loop {
            theirs.readable().await.unwrap();
            let _ = theirs.try_read(&mut drained);
        }
    };
    tokio::select! { () = unsent => {}, () = reader => {} }
    let before = metrics.challenges.get();
    link.send(1, &challenge(), &metrics);
    assert_eq!(metrics.challenges.get(), before + 1);
}

#[tokio::test]
async fn a_guest_that_sends_too_much_is_read_more_slowly() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (clock, metrics) = (Clock::start(), Metrics::default());
    let mut link = Link::new(ours, 1, clock.now());
    let mut session = session();
    let writer =
        tokio::spawn(async move { while theirs.write_all(&[b'\n'; 4096]).await.is_ok() {} });
    let mut pieces = 0;
    loop {
        match link.input(clock, &mut session, &metrics).await {
            Input::Some | Input::Much => pieces += 1,
            Input::PutOff => break,
            Input::Closed(why) => panic!("{why}"),
        }
        assert!(pieces < 1000, "it is never put off");
    }
    assert!(pieces >= 8, "a burst is read at once");
    let resumes = link.resumes_at().unwrap();
    assert!(resumes > clock.now() || pieces > 8);
    tokio::time::sleep_until(clock.instant(resumes)).await;
    assert!(matches!(link.input(clock, &mut session, &metrics).await, Input::Some | Input::Much));
    writer.abort();
}

#[tokio::test]
async fn the_end_of_the_channel_is_told_at_once() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (clock, metrics) = (Clock::start(), Metrics::default());
    let mut link = Link::new(ours, 1, clock.now());
    drop(theirs);
    let Input::Closed(why) = link.input(clock, &mut session(), &metrics).await else {
        panic!("not closed")
    };
    assert_eq!(why, "end of file");
}
