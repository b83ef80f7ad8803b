//! What is derived of all columns of numbers, or of names, together: rows put together again of the lanes that they were set
//! aside in.

use driftline_detectors::{
    BuildError, ColumnKind, Derivation, Derived, Joint, MAX_JOINT_COLUMNS, MAX_NAMES_COLUMNS, Names, Reference,
    SourceValue,
};
use driftline_detectors::{RowValue, Rows};

use super::ReferencePlan;
use super::aside::{Aside, Lane, Reader};
use super::columns::{Gathered, Kind, Made, Times, category, lost, number};
use super::parting::Parted;
use super::values::Value;

/// What columns are looked at together with.
pub(super) struct Together<'t> {
    pub(super) aside: &'t Aside,
    pub(super) times: &'t Lane,
    pub(super) parted: &'t Parted,
    pub(super) plan: &'t ReferencePlan,
}

impl Together<'_> {
    /// What is made of the columns of numbers together, if the plan wants it.
    pub(super) fn numbers(&self, columns: &[&Gathered]) -> Result<Option<Made>, String> {
        if !self.plan.joint && self.plan.joint_columns.is_empty() {
            return Ok(None);
        }
        let sources = sources(columns, &self.plan.joint_columns)?;
        let rows = SourceRows { lanes: lanes(&sources), aside: self.aside, read: &|_, value| joint_number(value) };
        let names = sources.iter().map(|source| source.name.clone()).collect();
        self.made(Derivation::Joint { joint: Joint::of_rows(names, &|take| rows.each(take))? }, &rows).map(Some)
    }

    /// What is made of the columns of categories together, if the plan wants it. Their own references are there.
    pub(super) fn names(&self, columns: &[&Gathered], references: &[Reference]) -> Result<Option<Made>, String> {
        if !self.plan.joint_names && self.plan.joint_name_columns.is_empty() {
            return Ok(None);
        }
        let sources = sources_of_names(columns, &self.plan.joint_name_columns)?;
        let of = |source: &&Gathered| references.iter().find(|reference| reference.column == source.name);
        let names = Names::of(&sources.iter().filter_map(of).collect::<Vec<_>>());
        let read = |column: usize, value: &Value<'_>| name_code(&names, column, value);
        let rows = SourceRows { lanes: lanes(&sources), aside: self.aside, read: &read };
        self.made(Derivation::Names { names: names.clone() }, &rows).map(Some)
    }

    fn made(&self, derivation: Derivation, rows: &SourceRows<'_>) -> Result<Made, String> {
        let windows = self.plan.time.as_ref().map(|(_, windows)| windows);
        let (mut references, mut segments) = (Vec::new(), Vec::new());
        for (place, (name, kind)) in derivation.columns().into_iter().enumerate() {
            let times = Times { lane: self.times, aside: self.aside, windows };
            let column = JointColumn { rows, derivation: &derivation, place, times };
            let reference = column.reference(&name, kind)?;
            let shared = self.parted.column(&reference, &column, times.shape());
            segments.extend(shared.map_err(|error| error.to_string())?);
            references.push(reference);
        }
        Ok(Made { references, derivation: Some(derivation), segments })
    }
}

fn lanes<'c>(sources: &[&'c Gathered]) -> Vec<&'c Lane> {
    sources.iter().map(|source| &source.lane).collect()
}

/// The columns of categories that are named, or all of them.
fn sources_of_names<'c>(columns: &[&'c Gathered], named: &[String]) -> Result<Vec<&'c Gathered>, String> {
    let are_names = |column: &&'c Gathered| matches!(column.kind, Kind::Categorical | Kind::Boolean);
    let columns = || columns.iter().copied();
    let sources: Vec<&Gathered> = if named.is_empty() {
        columns().filter(are_names).collect()
    } else {
        let find = |name: &String| {
            let column = columns().find(|column| column.name == *name).filter(are_names);
            column.ok_or_else(|| format!("--joint-name {name}: no column of categories that is taken has this name"))
        };
        named.iter().map(find).collect::<Result<_, _>>()?
    };
    match sources.len() {
        0 | 1 => Err("there are no two columns of categories to look at together; leave --joint-names out".to_owned()),
        many if many > MAX_NAMES_COLUMNS => Err(format!(
            "there are {many} columns of categories, and {MAX_NAMES_COLUMNS} can be looked at together; name those that matter with --joint-name"
        )),
        _ => Ok(sources),
    }
}

/// The columns of numbers that are named, or all of them.
fn sources<'c>(columns: &[&'c Gathered], named: &[String]) -> Result<Vec<&'c Gathered>, String> {
    let are_numbers = |column: &&'c Gathered| column.kind == Kind::Numeric;
    let columns = || columns.iter().copied();
    let sources: Vec<&Gathered> = if named.is_empty() {
        columns().filter(are_numbers).collect()
    } else {
        let find = |name: &String| {
            let column = columns().find(|column| column.name == *name).filter(are_numbers);
            column.ok_or_else(|| format!("--joint-column {name}: no column of numbers that is taken has this name"))
        };
        named.iter().map(find).collect::<Result<_, _>>()?
    };
    match sources.len() {
        0 | 1 => Err("there are no two columns of numbers to look at together; leave --joint out".to_owned()),
        many if many > MAX_JOINT_COLUMNS => Err(format!(
            "there are {many} columns of numbers, and {MAX_JOINT_COLUMNS} can be looked at together; name those that matter with --joint-column"
        )),
        _ => Ok(sources),
    }
}

/// A value as one of a row's numbers: NaN where it is none.
pub(super) fn joint_number(value: &Value<'_>) -> f64 {
    match number(value) {
        RowValue::Number(number) => number,
        _ => f64::NAN,
    }
}

/// A value as the code of a name of a column, by its place: NaN where it is none.
pub(super) fn name_code(names: &Names, column: usize, value: &Value<'_>) -> f64 {
    let mut code = f64::NAN;
    category(value, names.are_booleans(column), &mut |value| {
        if let RowValue::Category(name) = value {
            code = names.code(column, name);
        }
    });
    code
}

/// The rows of several lanes side by side.
struct SourceRows<'l> {
    lanes: Vec<&'l Lane>,
    aside: &'l Aside,
    /// A value of a lane, by its place, as a row holds it.
    read: &'l dyn Fn(usize, &Value<'_>) -> f64,
}

impl SourceRows<'_> {
    fn each(&self, take: &mut dyn FnMut(&[f64])) -> Result<(), String> {
        let mut readers: Vec<Reader<'_>> = self.lanes.iter().map(|lane| lane.reader(self.aside)).collect();
        let mut row = vec![f64::NAN; readers.len()];
        loop {
            for (column, (reader, place)) in readers.iter_mut().zip(&mut row).enumerate() {
                let Some(value) = reader.next().map_err(lost)? else { return Ok(()) };
                *place = (self.read)(column, &value);
            }
            take(&row);
        }
    }
}

/// The rows of one of the columns that are derived of them.
struct JointColumn<'l> {
    rows: &'l SourceRows<'l>,
    derivation: &'l Derivation,
    place: usize,
    times: Times<'l>,
}

impl JointColumn<'_> {
    fn reference(&self, name: &str, kind: ColumnKind) -> Result<Reference, String> {
        Reference::of_rows(name, kind, self, self.times.shape()).map_err(|error: BuildError| error.to_string())
    }
}

impl Rows for JointColumn<'_> {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        let (mut times, mut unread) = (self.times.reader(), None);
        self.rows.each(&mut |row| match times.next() {
            Ok(time) => {
                let pane = self.times.pane(time);
                match self.derivation.derive(SourceValue::Row(row), time)[self.place] {
                    Derived::Number(number) => take(pane, RowValue::Number(number)),
                    Derived::Name(name) => take(pane, RowValue::Category(name)),
                    Derived::Itself => take(pane, RowValue::Row(row)),
                    Derived::Missing => take(pane, RowValue::Missing),
                    Derived::WrongType => take(pane, RowValue::WrongType),
                }
            }
            Err(why) => unread = Some(why),
        })?;
        unread.map_or(Ok(()), Err)
    }

    fn columns(&self) -> Vec<String> {
        match self.derivation {
            Derivation::Joint { joint } => joint.sources().to_vec(),
            Derivation::Names { names } => names.sources().to_vec(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use driftline_detectors::Detector;

    use super::super::{ReferencePlan, build_reference};
    use super::*;
    use crate::config::Windows;

    /// Forty days, in each of which two columns go together, and a third does what it likes.
    fn text() -> String {
        let row = |row: i64| {
            let (a, b) = (row * 7919 % 997, row * 104_729 % 991);
            let first = if row % 9 == 4 { String::new() } else { a.to_string() };
            format!(
                "2026-{:02}-{:02}T12:00:00Z,{first},{},{b},x{}\n",
                1 + row / 560,
                1 + row / 20 % 28,
                2 * a + b % 50,
                b % 3
            )
        };
        format!("when,a,b,c,name\n{}", (0..800).map(row).collect::<String>())
    }

    fn plan(folder: &std::path::Path) -> ReferencePlan {
        let path = folder.join("rows.csv");
        std::fs::write(&path, text()).unwrap();
        let windows =
            Windows { pane: std::time::Duration::from_secs(86_400), panes: 5, min_filled: 3, ..Windows::default() };
        ReferencePlan {
            model: "m".into(),
            inputs: vec![path],
            time: Some(("when".into(), windows)),
            joint: true,
            ..ReferencePlan::default()
        }
    }

    #[test]
    fn rows_of_all_columns_of_numbers_have_an_error_with_its_own_noise() {
        let folder = tempfile::tempdir().unwrap();
        let file = build_reference(&plan(folder.path())).unwrap();
        let [Derivation::Joint { joint }] = &file.derived[..] else { panic!("{:?}", file.derived) };
        assert_eq!(joint.sources(), ["a", "b", "c"]);
        let error = file.columns.iter().find(|column| column.column == "joint.pca_error").unwrap();
        assert_eq!((error.profile().rows(), error.profile().usable()), (800, 800));
        assert!(error.blocks.contains_key(&Detector::Psi) && error.nulls.contains_key(&Detector::Psi));
        let pairs = file.columns.iter().find(|column| column.column == "joint.associations").unwrap();
        assert_eq!((pairs.profile().rows(), pairs.profile().usable()), (800, 800));
        let is_known = |detector| pairs.blocks.contains_key(&detector) && pairs.nulls.contains_key(&detector);
        assert!(is_known(Detector::Association));
    }

    #[test]
    fn columns_of_categories_are_tables_of_their_common_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let row = |row: usize| {
            format!(
                "n{},{},{}\n",
                row % 3,
                row.is_multiple_of(2),
                if row.is_multiple_of(250) { "rare" } else { "often" }
            )
        };
        std::fs::write(&path, format!("a,b,c\n{}", (0..900).map(row).collect::<String>())).unwrap();
        let mut plan = ReferencePlan { inputs: vec![path], joint_names: true, ..ReferencePlan::default() };
        let file = build_reference(&plan).unwrap();
        let [Derivation::Names { names }] = &file.derived[..] else { panic!("{:?}", file.derived) };
        assert_eq!(names.sources(), ["a", "b", "c"]);
        let pairs = file.columns.iter().find(|column| column.column == "names.associations").unwrap();
        let driftline_detectors::Normal::Contingencies { contingencies, profile } = &pairs.normal else { panic!() };
        assert_eq!(contingencies.codes, [4, 3, 2], "what is rare has no code of its own");
        assert_eq!((profile.rows, profile.tables[0].iter().sum::<u64>()), (900, 900));
        // None other, then false and true, the rare ones first.
        assert_eq!(profile.tables[2], [0, 0, 0, 450, 4, 446]);
        plan.joint_name_columns = vec!["a".into(), "gone".into()];
        assert!(build_reference(&plan).unwrap_err().to_string().contains("--joint-name gone"));
    }

    #[test]
    fn those_that_are_named_are_looked_at_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(folder.path());
        plan.joint_columns = vec!["c".into(), "a".into()];
        let file = build_reference(&plan).unwrap();
        let [Derivation::Joint { joint }] = &file.derived[..] else { panic!("{:?}", file.derived) };
        assert_eq!(joint.sources(), ["c", "a"]);
        plan.joint_columns = vec!["c".into(), "name".into()];
        let error = build_reference(&plan).unwrap_err().to_string();
        assert!(error.contains("--joint-column name"), "{error}");
        plan.columns = vec!["a".into()];
        plan.joint_columns.clear();
        let error = build_reference(&plan).unwrap_err().to_string();
        assert!(error.contains("no two columns"), "{error}");
    }

    #[test]
    fn more_columns_than_can_be_looked_at_must_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let names: Vec<String> = (0..=MAX_JOINT_COLUMNS).map(|column| format!("c{column}")).collect();
        let row =
            |row: usize| (0..=MAX_JOINT_COLUMNS).map(|c| (row * c % 13).to_string()).collect::<Vec<_>>().join(",");
        std::fs::write(&path, format!("{}\n{}\n{}\n", names.join(","), row(1), row(2))).unwrap();
        let plan = ReferencePlan { inputs: vec![path], joint: true, ..ReferencePlan::default() };
        let error = build_reference(&plan).unwrap_err().to_string();
        assert!(error.contains("33 columns") && error.contains("--joint-column"), "{error}");
    }
}
