//! What is told of the archive's files beside them: manifests and the logs of Delta tables, held against the files.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftline_tests::eventually;
use serde_json::Value;

use crate::oracle::{Archive, LOG_FOLDER, OWN_FOLDER, files_of_rows};

/// Waits until manifests and logs name the files that are there, and no other.
pub(crate) async fn check(archive: &Archive) {
    eventually("manifests and Delta logs name the files that are there", async || {
        let all = archive.all().await;
        let there: BTreeSet<String> = files_of_rows(&all).map(|(name, _)| from_model(name)).collect();
        let listed = in_manifests(&all)?;
        if listed != there {
            return Err(format!("manifests name {} files, and {} are there", listed.len(), there.len()));
        }
        let committed = in_logs(&all).unwrap_or_else(|why| panic!("{why}"));
        if committed != there {
            return Err(format!("Delta logs name {} files, and {} are there", committed.len(), there.len()));
        }
        Ok(())
    })
    .await;
}

/// A name from where the archive begins.
fn from_model(name: &str) -> String {
    name.find("model=").map_or(name, |at| &name[at..]).to_owned()
}

fn in_manifests(all: &[(String, Bytes)]) -> Result<BTreeSet<String>, String> {
    let mut listed = BTreeSet::new();
    let is_manifest = |name: &str| name.contains(OWN_FOLDER) && name.ends_with(".jsonl");
    for (_, contents) in all.iter().filter(|(name, _)| is_manifest(name)) {
        for line in actions(contents)? {
            let path = line["path"].as_str().ok_or("a line without a path")?;
            if !listed.insert(path.to_owned()) {
                return Err(format!("{path} is listed twice"));
            }
        }
    }
    Ok(listed)
}

/// The files that all commits of all tables come to. None adds a file that is there, or leaves out a number.
fn in_logs(all: &[(String, Bytes)]) -> Result<BTreeSet<String>, String> {
    let mut tables: BTreeMap<&str, Vec<(&str, &Bytes)>> = BTreeMap::new();
    for (name, contents) in all {
        if let Some((table, commit)) = name.split_once(LOG_FOLDER)
            && commit.ends_with(".json")
        {
            tables.entry(table).or_default().push((commit, contents));
        }
    }
    let mut files = BTreeSet::new();
    for (table, mut commits) in tables {
        commits.sort_unstable_by_key(|(name, _)| *name);
        for (number, (commit, contents)) in commits.into_iter().enumerate() {
            if commit != format!("/{number:020}.json") {
                return Err(format!("{table} has {commit} where it should have commit {number}"));
            }
            for action in actions(contents)? {
                if let Some(path) = action["add"]["path"].as_str()
                    && !files.insert(from_model(&format!("{table}{path}")))
                {
                    return Err(format!("{table}{path} is committed twice"));
                }
            }
        }
    }
    Ok(files)
}

fn actions(contents: &Bytes) -> Result<Vec<Value>, String> {
    let text = std::str::from_utf8(contents).map_err(|error| error.to_string())?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))).collect()
}
