//! What a monitoring system makes of the real daemons: a strict parser reads their metrics, and the alert rules fire on
//! what was scraped while a guest was lost and the VIM was away.
//!
//! `PROMTOOL` names promtool, `OPENMETRICS_PYTHON` a Python with the package prometheus-client.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{Site, is_alarm, is_state};
use end_to_end::scrape::{Scrape, scrape, shows, text};
use end_to_end::{SOON, id};
use lab::daemon::Daemon;
use lab::guest::Behaviour;
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Reads a text with the strict parser and says how many families it has.
const PARSE: &str = "import sys\n\
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
    for path in sys.argv[1:]:\n\
    \x20   with open(path, encoding='utf-8') as file:\n\
    \x20       print(len(list(parse(file.read()))))\n";

fn tool(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os(name)
        .with_context(|| format!("{name} is not set: use cargo xtask test"))?;
    Ok(path.into())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    Ok(stdout)
}

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/monitoring/guest-heartbeat.rules.yml")
}

/// Has a daemon serve its metrics, with series of single instances.
async fn serve(daemon: &Daemon, ini: &Path, rest: &str) -> Result<SocketAddr> {
    let metrics = "[metrics]\nlisten = 127.0.0.1:0\nper_instance = yes\n";
    std::fs::write(ini, format!("{rest}{metrics}"))?;
    daemon.signal(Signal::SIGHUP)?;
    let served = |line: &str| line.contains("metrics are served here");
    let line = daemon.wait_log("the address", SOON, served).await?.text;
    let word = line.split(' ').find_map(|word| word.strip_prefix("address="));
    Ok(word.context("no address")?.parse()?)
}

/// What both daemons showed at one time, and for how many minutes of the test that shall hold.
struct Moment {
    minutes: usize,
    server: Scrape,
    agent: Scrape,
}

/// The series of the moments, one after the other, as promtool's tests want them; those that were there throughout.
fn series(moments: &[Moment]) -> String {
    let mut text = String::new();
    type Of = fn(&Moment) -> &Scrape;
    let daemons: [(&str, Of); 2] =
        [("guest-server", |moment| &moment.server), ("guest-agent", |moment| &moment.agent)];
    for (job, of) in daemons {
        let labels = format!(r#"job="{job}",instance="here:1""#);
        let mut add = |name: &str, values: &str| {
            let _ = write!(text, "      - series: '{name}'\n        values: '{values}'\n");
        };
        add(&format!("up{{{labels}}}"), "1x60");
        let Some(first) = moments.first() else { continue };
        for name in of(first).0.keys() {
            let values: Option<Vec<String>> = moments
                .iter()
                .map(|moment| {
                    let value = of(moment).0.get(name)?;
                    Some(format!("{value}x{}", moment.minutes - 1))
                })
                .collect();
            let Some(values) = values else { continue };
            let labelled = match name.split_once('{') {
                Some((bare, rest)) => format!("{bare}{{{labels},{rest}"),
                None => format!("{name}{{{labels}}}"),
            };
            add(&labelled, &values.join(" "));
        }
    }
    text
}

/// Expects that of the two alerts exactly these are firing.
fn expect(minute: usize, firing: &[(&str, &str)]) -> String {
    let mut text = format!(
        "      - expr: ALERTS{{alertstate=\"firing\",alertname=~\"GuestLost|GuestAgentVimUnreachable\"}}\n        \
         eval_time: {minute}m\n        exp_samples:"
    );
    if firing.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    for (alert, job) in firing {
        let labels = format!(
            r#"alertname="{alert}", alertstate="firing", instance="here:1", job="{job}", severity="critical""#
        );
        let _ = write!(text, "          - labels: 'ALERTS{{{labels}}}'\n            value: 1\n");
    }
    text
}

#[tokio::test]
async fn the_alerts_fire_on_what_the_real_daemons_show() -> Result<()> {
    let (promtool, python) = (tool("PROMTOOL")?, tool("OPENMETRICS_PYTHON")?);
    let site = Site::start().await?;
    let agent = serve(&site.agent, &site.ini(), "").await?;
    let place = site.host(1, true).await?;
    let real = site.real_server(&place).await?;
    let server = serve(&real.daemon, &real.ini(), end_to_end::host::INI).await?;
    let mut guests = Vec::new();
    for n in [1, 2] {
        site.commander.add_instance(id(n), &place.name).await?;
        site.commander.switch_instance(id(n), &place.name, true).await?;
        guests.push(real.guest(id(n), Behaviour::normal())?);
        site.told("heartbeating", id(n), |request| is_state(request, true)).await?;
    }
    let now = async |minutes| {
        anyhow::Ok(Moment { minutes, server: scrape(server).await?, agent: scrape(agent).await? })
    };
    let well = now(6).await?;

    guests[0].freeze().await?;
    site.told("the alarm", id(1), |request| is_alarm(request, "failed")).await?;
    site.all_told().await?;
    let lost = now(6).await?;

    site.vim.leave();
    guests[1].freeze().await?;
    shows("events wait and the VIM is away", agent, |scrape| {
        Ok(scrape.value("guest_agent_vim_up")? == 0.0
            && scrape.value("guest_agent_outbox_events")? >= 2.0)
    })
    .await?;
    let away = now(6).await?;

    site.vim.come_back();
    site.told("the other alarm", id(2), |request| is_alarm(request, "failed")).await?;
    site.all_told().await?;
    shows("the VIM is back", agent, |scrape| Ok(scrape.value("guest_agent_vim_up")? == 1.0))
        .await?;
    let after = now(20).await?;

    let home = TempDir::with_prefix("end-to-end-")?;
    let texts = [(server, "server.txt"), (agent, "agent.txt")];
    let mut parse = Command::new(python);
    parse.args(["-c", PARSE]);
    for (address, name) in texts {
        let path = home.path().join(name);
        std::fs::write(&path, text(address).await?)?;
        parse.arg(path);
    }
    let parsed = output(&mut parse)?;
    for count in parsed.lines() {
        ensure!(count.parse::<usize>()? > 30, "{parsed}");
    }
    ensure!(parsed.lines().count() == 2, "{parsed}");

    let test = home.path().join("scraped.test.yml");
    let lost_firing = ("GuestLost", "guest-server");
    let away_firing = ("GuestAgentVimUnreachable", "guest-agent");
    let expectations = [
        expect(5, &[]),
        expect(8, &[lost_firing]),
        expect(14, &[away_firing, lost_firing]),
        expect(36, &[]),
    ];
    std::fs::write(
        &test,
        format!(
            "rule_files:\n  - {}\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    \
             input_series:\n{}    promql_expr_test:\n{}",
            rules().display(),
            series(&[well, lost, away, after]),
            expectations.concat(),
        ),
    )?;
    let checked = output(Command::new(&promtool).args(["test", "rules"]).arg(&test));
    checked.map(drop).with_context(|| std::fs::read_to_string(&test).unwrap_or_default())?;

    // The same with the expectations turned around, so that it is known to be checked.
    let wrong = std::fs::read_to_string(&test)?
        .replace("GuestLost\", alertstate", "Nonsense\", alertstate");
    std::fs::write(&test, wrong)?;
    ensure!(output(Command::new(&promtool).args(["test", "rules"]).arg(&test)).is_err());
    Ok(())
}
