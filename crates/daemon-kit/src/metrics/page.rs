//! The reference in docs/metrics.md, made from the families themselves.

use std::fmt::Write as _;

use super::Family;

/// A table with a row for each family.
#[must_use]
pub fn table(families: &[&Family]) -> String {
    let mut text =
        String::from("| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for family in families {
        let labels: Vec<String> =
            family.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}{}` | {} | {} | {} | {} |",
            family.name,
            family.kind.ending(),
            family.kind.as_str(),
            family.unit().unwrap_or_default(),
            labels.join("; "),
            family.help,
        );
    }
    text
}

/// The page with what stands between the two comments with this name replaced; none if they are not there.
#[must_use]
pub fn with_section(page: &str, name: &str, section: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let from = page.find(&begin)? + begin.len();
    let to = from + page.get(from..)?.find(&end)?;
    Some([page.get(..from)?, section, page.get(to..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let wanted = "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n";
        assert_eq!(with_section(page, "x", "new\n").as_deref(), Some(wanted));
        assert_eq!(with_section(page, "y", "new\n"), None);
    }

    #[test]
    fn a_family_is_a_row() {
        let labels = &[("fate", "`sent` or `unsent`")];
        let family = Family { name: "x_sent_bytes", kind: Kind::Counter, help: "Bytes", labels };
        let wanted =
            "| `x_sent_bytes_total` | counter | bytes | `fate`: `sent` or `unsent` | Bytes |";
        assert_eq!(table(&[&family]).lines().last(), Some(wanted));
    }
}
