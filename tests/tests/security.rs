//! Who may speak: with keys, and by address without.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use daemon_kit::security::unix_micros;
use end_to_end::host::{Host, INI, Setup};
use end_to_end::{SOON, golden, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{
    Ack, AgentCommand, Datagram, Guard, Keyring, Length, Numbering, REVISION, SecurityMode,
};
use lab::guest::Behaviour;
use tempfile::TempDir;

const CURRENT: [u8; 32] = [1; 32];
const NEXT: [u8; 32] = [2; 32];

fn key_file(dir: &Path) -> Result<String> {
    let path = dir.join("keys");
    std::fs::write(&path, Keyring::generate(CURRENT, NEXT).text())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

/// A guestServer with keys, and this test as its controller.
struct Sealed {
    host: Host,
    socket: UdpSocket,
    server: SocketAddr,
    guard: Guard,
    numbers: u32,
    keys: TempDir,
}

impl Sealed {
    async fn start(mode: &str) -> Result<Self> {
        let keys = TempDir::new()?;
        let file = key_file(keys.path())?;
        let ini = format!("{INI}[security]\nmode = {mode}\nkey_file = {file}\n");
        let host = Setup::default().ini(&ini).start().await?;
        let server = host.address().await?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        let keyring = Keyring::generate(CURRENT, NEXT);
        let guard = Guard::new(SecurityMode::Required, Some(keyring));
        Ok(Self { host, socket, server, guard, numbers: 0, keys })
    }

    /// The bytes of a command with the next number, without a seal.
    fn plain(&mut self, command: &AgentCommand) -> Vec<u8> {
        self.numbers += 1;
        let numbering = Numbering { revision: REVISION, epoch: 99, number: self.numbers };
        let mut bytes = Vec::new();
        command.with_datagram("127.0.0.1", |plain| {
            Datagram { numbering, ..*plain }.encode(Length::Fitting, &mut bytes);
        });
        bytes
    }

    fn sealed(&mut self, command: &AgentCommand, age: Duration, recipient: &str) -> Vec<u8> {
        let mut bytes = self.plain(command);
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.guard.seal(&mut bytes, unix_micros() - age, Some(recipient));
        bytes
    }

    fn good(&mut self, command: &AgentCommand) -> Vec<u8> {
        self.sealed(command, Duration::ZERO, golden::HOSTNAME)
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        self.socket.send_to(bytes, self.server)?;
        Ok(())
    }

    async fn reporting(&self, instance: InstanceId, reporting: bool) -> Result<()> {
        let wanted = |one: &serde_json::Value| one["reporting"] == reporting;
        self.host.instance("its reporting", instance, wanted).await.map(drop)
    }
}

fn switch(reporting: bool) -> AgentCommand {
    AgentCommand::ModInstance { instance: id(1), reporting }
}

#[tokio::test]
async fn with_keys_nothing_forged_altered_repeated_or_late_changes_anything() -> Result<()> {
    let mut site = Sealed::start("required").await?;
    let enable = site.good(&switch(true));
    site.send(&enable)?;
    site.reporting(id(1), true).await?;
    let disable = site.good(&switch(false));
    site.send(&disable)?;
    site.reporting(id(1), false).await?;

    // What was sent before, again: known by its number.
    site.send(&enable)?;
    site.host.counted("datagrams_doubled", 1).await?;
    // By somebody who has no key, another key, or only a datagram that was seen.
    let forged = site.plain(&switch(true));
    let mut other_key = site.plain(&switch(true));
    let other = Guard::new(SecurityMode::Required, Some(Keyring::generate([7; 32], [8; 32])));
    other.seal(&mut other_key, unix_micros(), None);
    let mut altered = site.good(&switch(false));
    let place = altered.windows(8).position(|eight| eight == b"disabled").context("no state")?;
    altered[place..place + 8].copy_from_slice(b"enabled\"");
    let late = site.sealed(&switch(true), Duration::from_secs(40), golden::HOSTNAME);
    let elsewhere = site.sealed(&switch(true), Duration::ZERO, "another-host");
    let mut unnumbered = golden::command("MOD_INST")?.bytes;
    site.guard.seal(&mut unnumbered, unix_micros(), None);
    let bad = [forged, other_key, altered, late, elsewhere, unnumbered];
    for bytes in &bad {
        site.send(bytes)?;
    }
    site.host.counted("datagrams_bad_seal", bad.len().try_into()?).await?;
    for text in
        ["not sealed with a key", "its seal is wrong", "s from our time", "another recipient"]
    {
        site.host.daemon.wait_log(text, SOON, |line| line.contains(text)).await?;
    }
    site.reporting(id(1), false).await?;
    ensure!(
        site.host.daemon.status().await?["instances"].as_array().is_some_and(|all| all.len() == 1)
    );

    // And what is right is still taken, and acknowledged with a seal that is right.
    let query = site.good(&AgentCommand::Query);
    site.send(&query)?;
    let mut room = [0; 2000];
    loop {
        let len = site.socket.recv(&mut room).context("no acknowledgement")?;
        ensure!(site.guard.check(&room[..len], unix_micros(), "") == Ok(true), "its seal");
        let ack = Ack::of(&Datagram::decode(&room[..len])?).context("no acknowledgement")?;
        if ack.number == site.numbers {
            break;
        }
    }
    Ok(())
}

#[tokio::test]
async fn permissive_takes_what_has_no_seal_from_a_controller_and_checks_the_others() -> Result<()> {
    let mut site = Sealed::start("permissive").await?;
    let plain = site.plain(&switch(true));
    site.send(&plain)?;
    site.reporting(id(1), true).await?;
    let mut altered = site.good(&switch(false));
    altered[30] ^= 1;
    site.send(&altered)?;
    site.host.counted("datagrams_bad_seal", 1).await?;
    site.reporting(id(1), true).await?;
    let good = site.good(&switch(false));
    site.send(&good)?;
    site.reporting(id(1), false).await
}

#[tokio::test]
async fn without_keys_commands_are_taken_from_the_controllers_addresses_alone() -> Result<()> {
    let ini = format!("{INI}[security]\ncontrollers = 127.0.0.9\n");
    let host = Setup::default().ini(&ini).start().await?;
    let server = host.address().await?;
    let _guest = host.running(id(1), Behaviour::normal(), true).await?;
    let delete = golden::command("DEL_INST")?.bytes;
    let stranger = UdpSocket::bind("127.0.0.8:0")?;
    stranger.send_to(&delete, server)?;
    host.counted("datagrams_strangers", 1).await?;
    let wanted = "from an address that may not command";
    host.daemon.wait_log(wanted, SOON, |line| line.contains(wanted)).await?;
    ensure!(host.daemon.status().await?["controller"] != "127.0.0.8");
    // One that the file names, though it is not --controller.
    let named = UdpSocket::bind("127.0.0.9:0")?;
    named.send_to(&golden::command("ADD_INST")?.bytes, server)?;
    host.instance("it is provisioned", golden::instance()?, |one| one["provisioned"] == true)
        .await?;
    Ok(())
}

#[tokio::test]
async fn keys_are_changed_by_hup_and_a_bad_key_file_leaves_the_former_ones() -> Result<()> {
    let mut site = Sealed::start("required").await?;
    let enable = site.good(&switch(true));
    site.send(&enable)?;
    site.reporting(id(1), true).await?;
    let path = site.keys.path().join("keys");
    let reload = async |host: &Host, wanted: &str| -> Result<()> {
        host.daemon.signal(nix::sys::signal::Signal::SIGHUP)?;
        host.daemon.wait_log(wanted, SOON, |line| line.contains(wanted)).await.map(drop)
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    reload(&site.host, "has mode 0644").await?;
    let disable = site.good(&switch(false));
    site.send(&disable)?;
    site.reporting(id(1), false).await?;
    // Swapped at the host first: what is sealed with the key that was current is still taken.
    let swapped = Keyring::generate(CURRENT, NEXT).swap();
    std::fs::write(&path, swapped.text())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    reload(&site.host, "keys 2 and 1").await?;
    let old = site.good(&switch(true));
    site.send(&old)?;
    site.reporting(id(1), true).await?;
    // Renewed there: it no longer is, but that of the other end, which has swapped meanwhile, is.
    std::fs::write(&path, swapped.renew([3; 32]).text())?;
    reload(&site.host, "keys 2 and 3").await?;
    let old = site.good(&switch(false));
    site.send(&old)?;
    site.host.counted("datagrams_bad_seal", 1).await?;
    site.guard = Guard::new(SecurityMode::Required, Some(swapped));
    let new = site.good(&switch(false));
    site.send(&new)?;
    site.reporting(id(1), false).await
}
