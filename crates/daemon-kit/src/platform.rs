//! What the platform says about this host: its management interface, that interface's address, its
//! name.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::getifaddrs;

/// More than the platform's file ever has (bytes); what follows is not read.
const MAX_FILE: u64 = 1 << 20;

/// The value of `management_interface` in the platform's file (`/etc/platform/platform.conf`):
/// lines of `KEY=value` as a shell reads them, the last one counts. `None` if the file or the key
/// is not there, or the value is empty.
///
/// # Errors
///
/// When the file is there and cannot be read.
pub fn management_interface(platform_conf: &Path) -> io::Result<Option<String>> {
    let file = match File::open(platform_conf) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    // The file has many keys of others; a byte that is no UTF-8 in one of them is not our concern.
    Ok(value_of(&String::from_utf8_lossy(&bytes), "management_interface"))
}

fn value_of(text: &str, key: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        (name.trim() == key).then_some(value.trim())
    });
    let value = unquote(values.next_back()?);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Without the quotes around it, or without the comment after it.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote))
        {
            return inner;
        }
    }
    value.split_whitespace().next().filter(|word| !word.starts_with('#')).unwrap_or_default()
}

/// An address of the interface `name` that other hosts can reach: IPv4 before IPv6, link-local IPv6
/// never. On an interface that has other addresses than loopback ones (`lo` of a one-node system
/// carries the management address) the loopback ones come last. `None` if there is no such
/// interface or it has no such address.
///
/// # Errors
///
/// When the machine does not list its addresses.
pub fn interface_address(name: &str) -> io::Result<Option<IpAddr>> {
    let addresses =
        getifaddrs()?.filter(|found| found.interface_name == name).filter_map(|found| {
            let address = found.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
    Ok(best_address(addresses))
}

fn best_address(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    // Of equals the first one: the kernel lists an interface's primary address before its others.
    addresses
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .min_by_key(|address| (address.is_loopback(), address.is_ipv6()))
}

/// The system's host name.
///
/// # Errors
///
/// When the system does not tell it, or it is empty or no UTF-8 and so nothing that could go into a
/// message.
pub fn hostname() -> io::Result<String> {
    let name = nix::unistd::gethostname()?;
    match name.into_string() {
        Ok(name) if !name.is_empty() => Ok(name),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "the host name is empty or not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(text: &str) -> Option<String> {
        value_of(text, "management_interface")
    }

    #[test]
    fn the_interface_as_a_shell_would_read_it() {
        let file = "nodetype=worker\nmanagement_interface=ens3\nmanagement_interfaces=no\n";
        assert_eq!(interface(file).as_deref(), Some("ens3"));
        for line in [
            "management_interface=\"ens3\"",
            "management_interface='ens3' # the fast one",
            "  export management_interface=ens3  # the fast one\r",
            "management_interface=old\n#management_interface=new\nmanagement_interface=ens3",
        ] {
            assert_eq!(interface(line).as_deref(), Some("ens3"), "{line}");
        }
        for line in
            ["", "management_interface", "management_interface=", "management_interface=\"\""]
        {
            assert_eq!(interface(line), None, "{line}");
        }
    }

    #[test]
    fn a_missing_file_is_no_error_and_a_directory_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("platform.conf");
        assert_eq!(management_interface(&path).unwrap(), None);
        std::fs::write(&path, b"other=\xff\nmanagement_interface=vlan10\n").unwrap();
        assert_eq!(management_interface(&path).unwrap().as_deref(), Some("vlan10"));
        management_interface(dir.path()).unwrap_err();
    }

    #[test]
    fn the_best_address_of_several() {
        let best = |texts: &[&str]| {
            best_address(texts.iter().map(|text| text.parse().unwrap())).map(|a| a.to_string())
        };
        assert_eq!(
            best(&["fe80::1", "fd00::5", "192.168.204.3", "192.168.204.9"]).as_deref(),
            Some("192.168.204.3")
        );
        assert_eq!(best(&["fe80::1", "fd00::5"]).as_deref(), Some("fd00::5"));
        assert_eq!(best(&["fe80::1"]), None);
        assert_eq!(best(&["127.0.0.1", "::1", "192.168.204.2"]).as_deref(), Some("192.168.204.2"));
        assert_eq!(best(&["::1", "127.0.0.1"]).as_deref(), Some("127.0.0.1"));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn this_machine() {
        assert_eq!(interface_address("no-such-interface").unwrap(), None);
        // A sandbox may leave loopback down; if it has an address it is one.
        interface_address("lo").unwrap();
        assert!(!hostname().unwrap().is_empty());
    }
}
