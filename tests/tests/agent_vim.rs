//! The VIM's ways: silent, away, in trouble, refusing, hanging. What it has to know reaches it, once and in order.

use std::collections::HashMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{Place, Site, is_alarm, is_state};
use end_to_end::{SOON, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{ServerEvent, VoteNotify};
use heartbeat_proto::guest::{EventType, NotificationType, VoteResult};
use lab::server::Server;
use lab::vim::Mood;
use lab::wait::until;

/// A site with one host and these instances on it, all with their reporting on.
async fn with_instances(numbers: std::ops::Range<u128>) -> Result<(Site, Place, Server)> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    for number in numbers {
        site.commander.switch_instance(id(number), &place.name, true).await?;
    }
    Ok((site, place, server))
}

/// How often the VIM got an alarm of the instance.
fn alarms(site: &Site, instance: InstanceId) -> usize {
    site.told_of(instance).iter().filter(|request| is_alarm(request, "failed")).count()
}

#[tokio::test]
async fn a_closed_connection_without_a_byte_is_a_delivery_and_a_refused_one_is_not() -> Result<()> {
    let (site, _, server) = with_instances(1..3).await?;
    server.set_heartbeating(id(1), true).await?;
    site.told("the state", id(1), |request| is_state(request, true)).await?;
    let status = site.all_told().await?;
    ensure!(status["metrics"]["events_delivered"] == 1, "{status}");

    site.vim.leave();
    let address = site.vim.url().trim_start_matches("http://").parse()?;
    let refused = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err();
    until("nobody listens", SOON, refused).await?;
    server.send(&ServerEvent::Loss(id(2))).await?;
    let status = site.counted("events_retried", 1).await?;
    ensure!(status["outbox"]["events"] == 1, "{status}");
    let failure = status["outbox"]["last_failure"].as_str().context("no failure")?;
    ensure!(failure.contains("cannot connect"), "{failure}");
    // Meanwhile its commands are obeyed.
    ensure!(site.commander.get_instance(id(2)).await?["services"][0]["status"] == "disabled");
    site.vim.come_back();
    site.told("the alarm", id(2), |request| is_alarm(request, "failed")).await?;
    let status = site.all_told().await?;
    ensure!(status["outbox"]["last_failure"].is_null(), "{status}");
    ensure!(status["metrics"]["events_delivered"] == 2, "{status}");
    // The first one was not sent again, the second one arrived once.
    ensure!(site.told_of(id(1)).len() == 1 && alarms(&site, id(2)) == 1);
    site.agent.wait_log("one line", SOON, |line| line.contains("can be told again")).await?;
    ensure!(site.agent.stderr().matches("the VIM cannot be told").count() == 1);
    Ok(())
}

#[tokio::test]
async fn a_vim_in_trouble_is_told_again_and_one_that_refuses_is_not() -> Result<()> {
    let (site, _, server) = with_instances(1..6).await?;
    for (number, mood) in [(1, Mood::Status(500)), (2, Mood::HalfAnswer), (3, Mood::Breaking)] {
        let before = site.all_told().await?["metrics"]["events_retried"].as_u64().context("no")?;
        site.vim.set_mood(mood);
        server.send(&ServerEvent::Loss(id(number))).await?;
        let failed = site.counted("events_retried", before + 1).await;
        failed.with_context(|| format!("{mood:?}"))?;
        let earlier = alarms(&site, id(number));
        site.vim.set_mood(Mood::Normal);
        let again = || alarms(&site, id(number)) > earlier;
        until("the alarm is there again", SOON, again)
            .await
            .with_context(|| format!("{mood:?}"))?;
    }
    site.vim.set_mood(Mood::Status(404));
    server.send(&ServerEvent::Loss(id(4))).await?;
    let status = site.counted("events_refused", 1).await?;
    ensure!(status["outbox"]["events"] == 0, "{status}");
    site.vim.set_mood(Mood::Normal);
    server.send(&ServerEvent::Loss(id(5))).await?;
    site.told("the next one", id(5), |request| is_alarm(request, "failed")).await?;
    let status = site.all_told().await?;
    ensure!(status["metrics"]["events_delivered"] == 4, "{status}");
    ensure!(alarms(&site, id(4)) == 1 && alarms(&site, id(5)) == 1);
    Ok(())
}

#[tokio::test]
async fn an_alarm_of_a_deleted_instance_is_not_told() -> Result<()> {
    let (site, _, server) = with_instances(1..4).await?;
    site.vim.set_mood(Mood::Hanging);
    for number in 1..4 {
        server.send(&ServerEvent::Loss(id(number))).await?;
    }
    site.counted("alarms", 3).await?;
    site.commander.delete_instance(id(2)).await?;
    site.vim.set_mood(Mood::Normal);
    site.told("the last one", id(3), |request| is_alarm(request, "failed")).await?;
    site.all_told().await?;
    ensure!(site.told_of(id(2)).is_empty() && alarms(&site, id(1)) == 1);
    Ok(())
}

const HOSTS: u8 = 4;
const INSTANCES: u128 = 100;
const STATES: u128 = 10;

fn vote(reason: &str) -> VoteNotify {
    VoteNotify {
        notification_type: NotificationType::Revocable,
        event_type: EventType::Reboot,
        vote: VoteResult::Reject,
        reason: reason.into(),
    }
}

/// The hang ends when all is in: so whatever happens before that did not wait for the VIM.
#[tokio::test]
async fn while_the_vim_hangs_all_goes_on_and_then_it_learns_everything() -> Result<()> {
    let site = Site::start().await?;
    let place_of = |number: u128| site.place(u8::try_from(number % u128::from(HOSTS)).unwrap_or(0));
    for n in 0..HOSTS {
        site.vim.set_host(site.place(n).id, &site.place(n).name, true);
    }
    for number in 0..=INSTANCES {
        site.vim.set_instance(place_of(number).id, id(number), true);
    }
    let mut servers = Vec::new();
    for n in 0..HOSTS {
        let place = site.host(n, true).await?;
        servers.push(site.server(&place).await?);
    }
    let server_of = |number: u128| -> Result<&Server> {
        servers.get(usize::try_from(number % u128::from(HOSTS))?).context("no such host")
    };
    let status = site.all_told().await?;
    ensure!(status["instances"].as_array().is_some_and(|all| all.len() == 101), "{status}");
    let received = status["metrics"]["datagrams_received"].as_u64().context("no count")?;

    let before = site.vim.requests().len();
    let _ = site.vim.drain();
    site.vim.set_mood(Mood::Hanging);
    // What is on its way while it hangs may have to be sent again; that one is not counted.
    server_of(INSTANCES)?.set_heartbeating(id(INSTANCES), true).await?;
    site.told("what it hangs over", id(INSTANCES), |_| true).await?;
    let commander = site.commander;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let asking = tokio::spawn(async move {
        let mut times = Vec::new();
        while times.len() < 100 || stopped.try_recv().is_err() {
            let began = Instant::now();
            commander.get_instance(id(times.len() as u128 % INSTANCES)).await?;
            times.push(began.elapsed());
        }
        anyhow::Ok(times)
    });
    let mut sent = 1;
    for step in 0..STATES + 2 {
        for number in 0..INSTANCES {
            let server = server_of(number)?;
            let (instance, place) = (id(number), (number + step) % (STATES + 2));
            match place {
                // The vote before the alarm with some, after it with others.
                3 => {
                    let vote = vote(&format!("because {number}"));
                    server.send(&ServerEvent::VoteNotify(instance, vote)).await?;
                }
                8 => {
                    server.change(instance, |info| info.heartbeating = false);
                    server.send(&ServerEvent::Loss(instance)).await?;
                }
                _ => server.set_heartbeating(instance, (number / 3 + step) % 2 == 0).await?,
            }
            sent += 1;
            // The kernel has room for so many.
            if sent % 50 == 0 {
                site.counted("datagrams_received", received + sent).await?;
            }
        }
    }
    let status = site.counted("datagrams_received", received + sent).await?;
    let _ = stop.send(());
    let mut times = asking.await??;
    times.sort();
    let slow = times[times.len() * 9 / 10];
    ensure!(slow < Duration::from_secs(1), "nine of ten GETs took up to {slow:?}");
    ensure!(status["metrics"]["alarms"] == 100 && status["metrics"]["votes"] == 100, "{status}");
    ensure!(status["outbox"]["oldest_secs"].as_f64().is_some_and(|age| age > 0.0), "{status}");
    let expected: HashMap<_, _> = status["instances"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["uuid"].as_str().unwrap_or_default(), one["heartbeating"] == true))
        .collect();

    site.vim.set_mood(Mood::Normal);
    site.all_told().await?;
    let requests = site.vim.requests();
    for number in 0..INSTANCES {
        let told: Vec<_> = requests[before..]
            .iter()
            .filter(|request| request.instance() == id(number).to_string())
            .collect();
        let list = || told.iter().map(|one| format!("\n{one}")).collect::<String>();
        let kinds: Vec<_> = told.iter().map(|one| one.event_type()).collect();
        let place = |kind: &str| kinds.iter().position(|one| one == kind);
        let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
        ensure!(count("alarm") == 1 && count("action") == 1, "{number}:{}", list());
        let vote_first = (3 + 24 - number % 12) % 12 < (8 + 24 - number % 12) % 12;
        ensure!((place("action") < place("alarm")) == vote_first, "{number}:{}", list());
        let last = told.iter().rfind(|one| one.event_type() == "service").context("no state")?;
        let heartbeating = expected[id(number).to_string().as_str()];
        ensure!(is_state(last, heartbeating), "{number} {heartbeating}:{}", list());
        // A newer state takes the place of one that was not sent; one may have been under way.
        ensure!(count("service") <= 2, "{number}:{}", list());
        ensure!(told.iter().any(|one| one.body.contains(&format!("because {number}\""))));
    }
    Ok(())
}
