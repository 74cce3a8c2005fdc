//! Every file of every corpus through its target, without an engine: what once was found stays mended.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_file_of_every_corpus_passes() {
    for (name, run) in fuzz::TARGETS {
        let mut files = 0;
        let entries = fs::read_dir(corpus().join(name))
            .unwrap_or_else(|error| panic!("no corpus of {name}: {error}"));
        for entry in entries {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            let passed = std::panic::catch_unwind(|| run(&data));
            assert!(passed.is_ok(), "{name} fails with {}", path.display());
            files += 1;
        }
        assert!(files > 0, "the corpus of {name} is empty");
    }
}

#[test]
fn every_corpus_and_every_program_has_its_target() {
    let targets: BTreeSet<String> =
        fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), fuzz::TARGETS.len(), "two of the same name");
    for (dir, suffix) in [("corpus", ""), ("fuzz_targets", ".rs")] {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(dir);
        let names = fs::read_dir(&dir).unwrap().map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(suffix).unwrap_or(&name).to_owned()
        });
        assert_eq!(names.collect::<BTreeSet<_>>(), targets, "in {}", dir.display());
    }
}
