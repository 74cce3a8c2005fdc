//! A monitoring system's side: scrapes a daemon and reads what it shows.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use lab::daemon::Daemon;
use lab::wait::until_ok;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::SOON;

/// What a daemon showed at one time: every series with its value, as both are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape(pub BTreeMap<String, String>);

impl Scrape {
    /// Reads a text, and holds it to the format: every family has its type before its samples and once, every sample
    /// belongs to the family before it and is there once, and the end is marked.
    ///
    /// # Errors
    ///
    /// It is not in the format.
    pub fn parse(text: &str) -> Result<Self> {
        let body = text.strip_suffix("# EOF\n").context("no end mark")?;
        let (mut series, mut families, mut family) = (BTreeMap::new(), Vec::new(), "");
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.split(' ');
                let (what, name) = (words.next(), words.next().context("no name")?);
                if what == Some("TYPE") {
                    ensure!(!families.contains(&name), "{name} is there twice");
                    families.push(name);
                    family = name;
                }
                ensure!(name == family, "{line} in the family {family}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("odd: {line}"))?;
            let bare = name.split('{').next().unwrap_or_default();
            let ending =
                bare.strip_prefix(family).with_context(|| format!("{line} in {family}"))?;
            let endings = ["", "_total", "_info", "_bucket", "_sum", "_count"];
            ensure!(endings.contains(&ending), "{line} in {family}");
            value.parse::<f64>().with_context(|| format!("odd value: {line}"))?;
            let before = series.insert(name.to_owned(), value.to_owned());
            ensure!(before.is_none(), "{name} is there twice");
        }
        Ok(Self(series))
    }

    /// The value of a series.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn value(&self, series: &str) -> Result<f64> {
        let value = self.0.get(series).with_context(|| format!("no {series} in {:#?}", self.0))?;
        Ok(value.parse()?)
    }

    /// Whether there is a series whose name contains this.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        self.0.keys().any(|name| name.contains(text))
    }
}

/// Where a daemon serves its metrics, by the ready line of its log.
///
/// # Errors
///
/// It does not.
pub async fn address(daemon: &Daemon) -> Result<SocketAddr> {
    // The log is written by a thread of its own: the daemon may be ready a moment before it says so there.
    let said = |line: &str| line.contains(" ready version=");
    let ready = daemon.wait_log("the ready line", SOON, said).await?.text;
    let word = ready.split(' ').find_map(|word| word.strip_prefix("metrics="));
    Ok(word.with_context(|| format!("no address in {ready}"))?.parse()?)
}

/// Sends this, and returns all that comes.
///
/// # Errors
///
/// Nobody listens, or it takes too long.
pub async fn exchange(address: SocketAddr, request: &str) -> Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    timeout(SOON, exchange).await.context("it takes too long")?
}

/// The text that is served at an address.
///
/// # Errors
///
/// It is not served.
pub async fn text(address: SocketAddr) -> Result<String> {
    let answer = exchange(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => bail!("{answer}"),
    }
}

/// Scrapes an address.
///
/// # Errors
///
/// It is not served, or is not in the format.
pub async fn scrape(address: SocketAddr) -> Result<Scrape> {
    Scrape::parse(&text(address).await?)
}

/// Scrapes until what is shown is `wanted`.
///
/// # Errors
///
/// It is not soon.
pub async fn shows(
    what: &str,
    address: SocketAddr,
    wanted: impl Fn(&Scrape) -> Result<bool>,
) -> Result<Scrape> {
    let look = async || {
        let scrape = scrape(address).await?;
        ensure!(wanted(&scrape)?, "{:#?}", scrape.0);
        Ok(scrape)
    };
    until_ok(what, SOON, look).await
}

/// What a daemon says over its control socket.
///
/// # Errors
///
/// It does not answer.
pub async fn over_the_control_socket(daemon: &Daemon) -> Result<Scrape> {
    let answer: Value = daemon.request(r#"{"request":"metrics"}"#).await?;
    let text = answer["openmetrics"].as_str().with_context(|| answer.to_string())?;
    Scrape::parse(text)
}
