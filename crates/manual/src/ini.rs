//! The page about an INI file, from the sample that is installed: what it says of a key is said once.
//!
//! ```text
//! ; Remarks before the first section are the page's description.     An empty line ends a paragraph.
//! [section]
//! ; Remarks of the key that follows.
//! ;key = default
//! ```

use anyhow::{Result, bail};

/// The page of `<name>.ini`, section 5, in roff.
///
/// # Errors
///
/// The sample has a line that is none of the above, or a key without a remark.
pub(crate) fn page(name: &str, sample: &str) -> Result<String> {
    let mut page = format!(
        ".TH {name}.ini 5 2026-11-25 \"\" \"guestServer and guestAgent\"\n.SH NAME\n\
         {name}.ini \\- configuration of {name}\n.SH SYNOPSIS\n/etc/mtc/{name}.ini\n.SH DESCRIPTION\n"
    );
    let mut remarks: Vec<String> = Vec::new();
    let mut in_section = false;
    for line in sample.lines() {
        if let Some(remark) = line.strip_prefix("; ") {
            remarks.push(text(remark));
        } else if line == ";" || line.is_empty() {
            if !in_section && !remarks.is_empty() {
                page.push_str(&format!("{}\n.PP\n", remarks.join("\n")));
                remarks.clear();
            }
        } else if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        {
            if !in_section {
                page.push_str(
                    "A line is a [section], a key = value, or empty; \";\" or \"#\" at its beginning or after white \
                     space begins a remark.\nUnknown keys get a warning.\n",
                );
            }
            in_section = true;
            page.push_str(&format!(".SH [{section}]\n"));
        } else if let Some((key, default)) =
            line.strip_prefix(';').and_then(|setting| setting.split_once(" = "))
        {
            if remarks.is_empty() || !in_section {
                bail!("nothing is said of {key}, or it is in no section");
            }
            page.push_str(&format!(
                ".TP\n.BR {} \" = {}\"\n{}\n",
                text(key),
                text(default),
                remarks.join("\n")
            ));
            remarks.clear();
        } else {
            bail!("no remark, section or commented key: {line:?}");
        }
    }
    page.push_str(&format!(".SH SEE ALSO\n.BR {name} (8)\n"));
    Ok(page)
}

/// Text for roff: no line begins with one of its control characters, and its dashes are those of the keyboard.
fn text(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\"");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn keys_have_their_remarks() {
        let sample = "; About it.\n\n[client]\n; How many. HUP.\n; And why.\n;threshold = 1\n";
        let page = page("daemon", sample).unwrap_or_default();
        let wanted = ".SH [client]\n.TP\n.BR threshold \" = 1\"\nHow many. HUP.\nAnd why.\n";
        assert!(page.contains(wanted), "{page}");
        assert!(page.contains(".SH DESCRIPTION\nAbout it.\n.PP\n"), "{page}");
    }

    #[test]
    fn what_is_not_explained_is_refused() {
        for sample in ["[a]\n;key = 1\n", "; Text.\n;key = 1\n", "[a]\n; Text.\nkey = 1\n"] {
            assert!(page("daemon", sample).is_err(), "{sample}");
        }
    }

    #[test]
    fn text_is_no_command_of_roff() {
        let sample = "[a]\n; .so is\n; 'quoted' `--check-config`\n;key = -1\n";
        let page = page("daemon", sample).unwrap_or_default();
        assert!(page.contains("\n\\&.so is\n\\&'quoted' \"\\-\\-check\\-config\"\n"), "{page}");
    }
}
