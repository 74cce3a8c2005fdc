//! docs/faults.md has a row for every test here, and a test for every row.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

#[test]
fn every_fault_has_its_row() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(here.join("../docs/faults.md"))?;
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit(" | ").next());
    let told: BTreeSet<String> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    let mut there = BTreeSet::new();
    for file in fs::read_dir(here.join("tests/faults"))? {
        let path = file?.path();
        let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path)?;
        for (_, after) in
            source.match_indices("#[test]\nfn ").map(|(at, mark)| source.split_at(at + mark.len()))
        {
            let name = after.split('(').next().unwrap_or_default();
            there.insert(format!("{module}::{name}"));
        }
    }
    there.remove("table::every_fault_has_its_row");
    let differing: Vec<_> = there.symmetric_difference(&told).collect();
    ensure!(differing.is_empty(), "in docs/faults.md or among the tests alone: {differing:?}");
    Ok(())
}
