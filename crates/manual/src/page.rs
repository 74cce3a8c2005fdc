//! A program's page: what its command line says, then what was written by hand.

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

/// The day of the last change of what is written by hand.
const DATE: &str = "2026-11-25";

/// The page of `command`, section 8, in roff. `by_hand` is roff as well: whole sections, put at the end.
pub(crate) fn render(command: &Command, by_hand: &str) -> Result<String> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let name = command.get_name().to_owned();
    let version = command.get_version().unwrap_or_default().to_owned();
    // The options of the program alone; its subcommands have a section each, with theirs.
    let man = Man::new(command.clone())
        .title(&name)
        .section("8")
        .date(DATE)
        .source(format!("{name} {version}"))
        .manual("guestServer and guestAgent");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = text(page)?;
    let subcommands: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    if !subcommands.is_empty() {
        page.push_str(".SH COMMANDS\n");
        for subcommand in subcommands {
            page.push_str(&describe(subcommand)?);
        }
    }
    page.push_str(by_hand);
    Ok(page)
}

/// A subcommand as a part of the section COMMANDS.
fn describe(subcommand: &Command) -> Result<String> {
    let man = Man::new(subcommand.clone());
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    let usage = subcommand.get_bin_name().unwrap_or(subcommand.get_name());
    Ok(format!(".SS {usage}\n{}", without_headings(&text(sections)?)))
}

/// The sections' contents. Only the description needs to be set apart: what is before it follows the heading of the subcommand, and
/// what is after it are options, each a paragraph of its own.
fn without_headings(sections: &str) -> String {
    // What roff needs at the beginning of a page stands at that of each section.
    let preamble = |line: &str| line.starts_with(".ie ") || line.starts_with(".el ");
    sections
        .lines()
        .filter(|line| !preamble(line))
        .filter_map(|line| match line {
            ".SH DESCRIPTION" => Some(".PP\n".to_owned()),
            heading if heading.starts_with(".SH ") => None,
            line => Some(format!("{line}\n")),
        })
        .collect()
}

fn text(roff: Vec<u8>) -> Result<String> {
    String::from_utf8(roff).context("a page that is no UTF-8")
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::render;

    fn page(command: &Command) -> String {
        render(command, ".SH FILES\nSome.\n").unwrap_or_default()
    }

    #[test]
    fn a_page_has_what_the_command_line_says_and_what_was_written() {
        let command = Command::new("daemon")
            .version("1.2.3")
            .about("Does things")
            .arg(Arg::new("dir").long("dir").value_name("DIR").help("Where things are"));
        let page = page(&command);
        for wanted in ["daemon 8", "Does things", "Where things are", ".SH FILES\nSome.\n"] {
            assert!(page.contains(wanted), "no {wanted:?} in:\n{page}");
        }
        assert!(!page.contains("COMMANDS"), "{page}");
    }

    #[test]
    fn subcommands_have_their_options_in_the_same_page() {
        let command = Command::new("daemon").subcommand(
            Command::new("status")
                .about("Asks the one that runs")
                .arg(Arg::new("json").long("json").help("As a document").num_args(0)),
        );
        let page = page(&command);
        let (_, commands) = page.split_once(".SH COMMANDS\n").unwrap_or_default();
        for wanted in [".SS daemon status\n", "Asks the one that runs", "As a document"] {
            assert!(commands.contains(wanted), "no {wanted:?} in:\n{commands}");
        }
        assert_eq!(commands.matches(".SH").count(), 1, "its own headings are gone: {commands}");
        assert!(!page.contains("daemon help"), "{page}");
    }
}
