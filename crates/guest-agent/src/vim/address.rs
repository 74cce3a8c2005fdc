//! Where the VIM is.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

/// The port of the VIM's event server where nothing else is configured.
const DEFAULT_PORT: NonZeroU16 = NonZeroU16::new(30002).unwrap();

/// The longest name of a host, in bytes.
const MAX_HOST: usize = 253;

/// The longest piece of a refused text that an error repeats, in characters.
const QUOTED: usize = 48;

/// The host and port of the VIM's event server. Its text form is the URL `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VimAddress {
    /// A name, or an address; an IPv6 address stands without brackets.
    host: Box<str>,
    port: NonZeroU16,
}

/// Why a text is no address of a VIM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseVimAddressError {
    #[error("a URL of the form http://HOST:PORT is wanted, but {0:?} does not begin with http://")]
    Scheme(String),
    #[error("only a host and a port may follow http://, but there is {0:?} too")]
    More(String),
    #[error("{0:?} is neither the name nor the address of a host")]
    Host(String),
    #[error("the port is missing: http://HOST:PORT is wanted")]
    NoPort,
    #[error("{0:?} is no port: a number from 1 to 65535 is wanted")]
    Port(String),
}

impl VimAddress {
    /// The VIM at this host, which is a name, an IPv4 address or an IPv6 address without brackets.
    ///
    /// # Errors
    /// When it can be neither.
    pub(crate) fn new(host: &str, port: NonZeroU16) -> Result<Self, ParseVimAddressError> {
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_name = (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(in_name);
        if is_name || host.parse::<Ipv6Addr>().is_ok() {
            Ok(Self { host: host.into(), port })
        } else {
            Err(ParseVimAddressError::Host(quoted(host)))
        }
    }

    /// The name or address of its host, as a resolver takes it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port.get()
    }

    /// `host:port`, as it stands in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Default for VimAddress {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string().into(), port: DEFAULT_PORT }
    }
}

impl fmt::Display for VimAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

impl FromStr for VimAddress {
    type Err = ParseVimAddressError;

    /// Reads `http://host:port`; a lone `/` may follow.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| ParseVimAddressError::Scheme(quoted(text)))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(end) = rest.find(['/', '?', '#']) {
            return Err(ParseVimAddressError::More(quoted(&rest[end..])));
        }
        if let Some((before, _)) = rest.rsplit_once('@') {
            // Not repeated: it may hold a password.
            let asterisks = "*".repeat(before.chars().count().min(QUOTED));
            return Err(ParseVimAddressError::More(asterisks + "@"));
        }
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) if host.contains(':') => (host, port.strip_prefix(':')),
            Some(_) => return Err(ParseVimAddressError::Host(quoted(rest))),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.ok_or(ParseVimAddressError::NoPort)?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port
            .parse()
            .ok()
            .filter(|_| is_number)
            .ok_or_else(|| ParseVimAddressError::Port(quoted(port)))?;
        Self::new(host, port)
    }
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VimAddress, ParseVimAddressError> {
        text.parse()
    }

    #[test]
    fn a_url_of_host_and_port_is_taken() {
        for (text, host, port, authority) in [
            ("http://127.0.0.1:30002", "127.0.0.1", 30002, "127.0.0.1:30002"),
            ("http://controller:1/", "controller", 1, "controller:1"),
            ("http://vim_1.example-2.org:65535", "vim_1.example-2.org", 65535, ""),
            ("http://[::1]:30002", "::1", 30002, "[::1]:30002"),
            ("http://[fd00::2]:80/", "fd00::2", 80, "[fd00::2]:80"),
        ] {
            let vim = parse(text).unwrap();
            assert_eq!((vim.host(), vim.port()), (host, port));
            assert!(authority.is_empty() || vim.authority() == authority, "{text}");
            assert_eq!(vim.to_string(), text.trim_end_matches('/'));
            assert_eq!(parse(&vim.to_string()), Ok(vim));
        }
        assert_eq!(VimAddress::default().to_string(), "http://127.0.0.1:30002");
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wrong() {
        let too_long = format!("http://{}:1", "x".repeat(254));
        for (text, wrong) in [
            ("", "does not begin with http://"),
            ("127.0.0.1:30002", "does not begin with http://"),
            ("https://vim:1", "\"https://vim:1\" does not begin with http://"),
            ("http://", "the port is missing"),
            ("http://vim", "the port is missing"),
            ("http://[::1]", "the port is missing"),
            ("http://[::1]30002", "the port is missing"),
            ("http://:1", "\"\" is neither"),
            ("http://a b:1", "\"a b\" is neither"),
            ("http://a\r\nX:1", "is neither"),
            ("http://a\r\n:1", "is neither"),
            ("http://[127.0.0.1]:1", "is neither"),
            ("http://[fe80::1%eth0]:1", "is neither"),
            ("http://::1:30002", "is no port"),
            ("http://vim:", "\"\" is no port"),
            ("http://vim:0", "\"0\" is no port"),
            ("http://vim:+1", "\"+1\" is no port"),
            ("http://vim:65536", "\"65536\" is no port"),
            ("http://vim:1/nfvi-plugins", "\"/nfvi-plugins\" too"),
            ("http://vim:1//", "\"/\" too"),
            ("http://vim:1?x", "\"?x\" too"),
            ("http://user:secret@vim:1", "\"***********@\" too"),
            (&too_long, "is neither"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{text:?}: {error}");
        }
    }
}
