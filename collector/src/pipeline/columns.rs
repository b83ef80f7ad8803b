//! The type of each column of a model, given once.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use driftline_detectors::{ColumnKind, Derivation, ReferenceFile};
use driftline_protocol::{Cell, Column, Role};
use rusqlite::{Connection, params};

use super::fields::type_of_field;
use super::table::META_COLUMNS;
use crate::archive::layout::PARTITION_KEYS;
use crate::config::{ColumnType, EventTime, Model, TimeUnit};
use crate::model_metadata::ToldTypes;

/// Columns that one model may have over time. A body whose keys are data would otherwise grow without end.
const MAX_COLUMNS: usize = 2000;

/// The columns of one model.
#[derive(Debug)]
pub(crate) struct Columns {
    known: Vec<KnownColumn>,
    /// Places in `known`, by name.
    index: HashMap<String, usize>,
    /// The one that was looked for last.
    last: usize,
    /// Types that configuration and reference say.
    said: BTreeMap<String, ColumnType>,
    /// Those that the model's metadata say, where these do not.
    told: ToldTypes,
    units: BTreeMap<String, TimeUnit>,
    /// Whence derived columns come, by their names.
    sources: BTreeMap<String, String>,
    /// Those that were given a type since the last checkpoint.
    new: Vec<usize>,
    /// Archived names of columns that have held something of another type.
    wrong: HashSet<String>,
}

/// A column that has been given a type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KnownColumn {
    name: String,
    /// What it is called in files.
    pub(crate) archived: String,
    pub(crate) kind: ColumnType,
    pub(crate) unit: TimeUnit,
    role: Role,
    /// The one that came after it last time. Exchanges of one model have their columns in one order, so that hardly one
    /// must be looked up.
    next: usize,
}

/// What a column of an exchange is to be kept as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept<'k> {
    /// As this one.
    As(&'k KnownColumn),
    /// Not yet: it has held nothing so far.
    Unknown,
    /// There are too many columns.
    TooMany,
}

impl Columns {
    /// What configuration and reference say.
    pub(crate) fn of_model(model: &Model, reference: Option<&ReferenceFile>) -> Self {
        let mut said = BTreeMap::new();
        for reference in reference.iter().flat_map(|file| &file.columns) {
            let kind = match reference.kind() {
                ColumnKind::Numeric => ColumnType::Number,
                ColumnKind::Categorical => ColumnType::Text,
                // Derived, of columns that have types of their own.
                ColumnKind::Associations | ColumnKind::Contingencies | ColumnKind::Vectors => continue,
            };
            said.insert(reference.column.clone(), kind);
        }
        let mut sources = BTreeMap::new();
        for derivation in reference.iter().flat_map(|file| &file.derived) {
            let kind = match derivation {
                Derivation::Timestamp { .. } => ColumnType::Timestamp,
                Derivation::Text { .. } => ColumnType::Text,
                Derivation::Embedding { .. } => ColumnType::Embedding,
                // Of columns that have types of their own.
                Derivation::Joint { .. } | Derivation::Names { .. } => continue,
            };
            said.insert(derivation.column().to_owned(), kind);
            let columns = derivation.columns().into_iter();
            sources.extend(columns.map(|(name, _)| (name, derivation.column().to_owned())));
        }
        let mut units = BTreeMap::new();
        if let EventTime::Column { name, unit } = &model.event_time {
            said.insert(name.clone(), ColumnType::Timestamp);
            units.insert(name.clone(), *unit);
        }
        for freshness in &model.slis.freshness {
            said.insert(freshness.column.clone(), ColumnType::Timestamp);
            units.insert(freshness.column.clone(), freshness.unit);
        }
        said.extend(model.columns.clone());
        Self {
            known: Vec::new(),
            index: HashMap::new(),
            last: 0,
            said,
            told: ToldTypes::default(),
            units,
            sources,
            new: Vec::new(),
            wrong: HashSet::new(),
        }
    }

    /// What configuration and reference say, and what was decided before.
    pub(crate) fn load(db: &Connection, model: &Model, reference: Option<&ReferenceFile>) -> rusqlite::Result<Self> {
        let mut columns = Self::of_model(model, reference);
        let mut statement = db.prepare("SELECT name, type, role FROM columns WHERE model = ?1")?;
        let rows = statement.query_map([&model.name], |row| {
            let (name, kind, role): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let role = if role == role_name(Role::Prediction) { Role::Prediction } else { Role::Feature };
            Ok((name, (ColumnType::named(&kind).unwrap_or(ColumnType::Text), role)))
        })?;
        for row in rows {
            let (name, (kind, role)) = row?;
            // A file already has the type of the past; what the configuration says now holds from here on.
            let kind = columns.said.get(&name).copied().unwrap_or(kind);
            columns.add(name, kind, role);
        }
        Ok(columns)
    }

    /// The same, with what the model says of columns that nothing has given a type yet.
    pub(crate) fn with_metadata(self, told: ToldTypes) -> Self {
        Self { told, ..self }
    }

    /// Columns that hold vectors, by what configuration and reference say.
    pub(crate) fn embeddings(&self) -> Vec<String> {
        let vectors = self.said.iter().filter(|(_, kind)| **kind == ColumnType::Embedding);
        vectors.map(|(name, _)| name.clone()).collect()
    }

    /// Adds a column, and gives its place.
    fn add(&mut self, name: String, kind: ColumnType, role: Role) -> usize {
        let place = self.known.len();
        let unit = self.units.get(&name).copied().unwrap_or(TimeUnit::Rfc3339);
        let archived = archived_name(&name).into_owned();
        self.index.insert(name.clone(), place);
        self.known.push(KnownColumn { name, archived, kind, unit, role, next: place + 1 });
        place
    }

    /// What a column is kept as: what reference and configuration say, or else the model, or else its first value that says
    /// anything; for good.
    pub(crate) fn keep(&mut self, column: &Column<'_>) -> Kept<'_> {
        let place = match self.find(&column.name) {
            Some(place) => place,
            None => {
                let told = || self.told.load().get(&*column.name).copied();
                let said = self.said.get(&*column.name).copied();
                let Some(kind) = said.or_else(told).or_else(|| first_kind(column)) else {
                    return Kept::Unknown;
                };
                if self.known.len() >= MAX_COLUMNS {
                    return Kept::TooMany;
                }
                let place = self.add(column.name.to_string(), kind, column.role);
                self.new.push(place);
                place
            }
        };
        self.last = place;
        Kept::As(&self.known[place])
    }

    /// The place of a column that has a type.
    fn find(&mut self, name: &str) -> Option<usize> {
        let guess = self.known.get(self.last).map_or(0, |last| last.next);
        if self.known.get(guess).is_some_and(|known| known.name == name) {
            return Some(guess);
        }
        let place = *self.index.get(name)?;
        self.known[self.last].next = place;
        Some(place)
    }

    /// Whether a column is a feature or a prediction: what is derived is what its source is. One that never came is a
    /// feature that is missing.
    pub(crate) fn role(&self, name: &str) -> Role {
        let name = self.sources.get(name).map_or(name, String::as_str);
        self.index.get(name).map_or(Role::Feature, |place| self.known[*place].role)
    }

    /// What there is to say of a column, by its archived name, when it holds something of another type for the first time.
    pub(crate) fn first_wrong_type(&mut self, name: &str) -> Option<String> {
        if !self.wrong.insert(name.to_owned()) {
            return None;
        }
        let kind = self.known.iter().find(|known| known.archived == name).map(|known| known.kind.name());
        Some(format!("{name} held what is no {}; such values are kept as missing", kind.unwrap_or("value of its type")))
    }

    /// Columns that were given a type since this was last asked: name, type, role.
    pub(crate) fn take_new(&mut self) -> Vec<(String, ColumnType, Role)> {
        let known = &self.known;
        let column = |place: usize| (known[place].name.clone(), known[place].kind, known[place].role);
        self.new.drain(..).map(column).collect()
    }
}

/// The type of a column's first value that says anything.
fn first_kind(column: &Column<'_>) -> Option<ColumnType> {
    column.cells.iter().find_map(|cell| match &*cell {
        Cell::Missing => None,
        Cell::Integer(_) => Some(ColumnType::Integer),
        Cell::Number(_) => Some(ColumnType::Number),
        Cell::Boolean(_) => Some(ColumnType::Boolean),
        Cell::Text(_) => Some(ColumnType::Text),
        Cell::Field(field) => Some(type_of_field(field)),
        Cell::Embedding(_) => Some(ColumnType::Embedding),
    })
}

/// Stores the types of new columns.
pub(crate) fn store(db: &Connection, model: &str, columns: &[(String, ColumnType, Role)]) -> rusqlite::Result<()> {
    let mut statement =
        db.prepare_cached("INSERT OR IGNORE INTO columns (model, name, type, role) VALUES (?1, ?2, ?3, ?4)")?;
    for (name, kind, role) in columns {
        statement.execute(params![model, name, kind.name(), role_name(*role)])?;
    }
    Ok(())
}

/// The name of a role, as labels and database have it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Feature => "feature",
        Role::Prediction => "prediction",
    }
}

/// What stands before the name of a column that every row has one of.
const RENAMED: &str = "column.";

/// Whether an archived column, or a folder, is one that every row has.
pub(crate) fn is_ours(archived: &str) -> bool {
    META_COLUMNS.iter().chain(&PARTITION_KEYS).any(|reserved| reserved.eq_ignore_ascii_case(archived))
}

/// The name of a column that is archived under this one: what [`archived_name`] was given.
pub(crate) fn name_of_archived(archived: &str) -> &str {
    archived.strip_prefix(RENAMED).filter(|name| archived_name(name) == archived).unwrap_or(archived)
}

/// The name under which a column is archived: its own, unless every row or every folder has one of that name. No two
/// columns share one: what is called like a renamed column is renamed too.
pub(crate) fn archived_name(name: &str) -> Cow<'_, str> {
    let mut plain = name;
    while let Some(rest) = plain.strip_prefix(RENAMED) {
        plain = rest;
    }
    // Engines do not tell upper from lower case.
    if is_ours(plain) { Cow::Owned(format!("{RENAMED}{name}")) } else { Cow::Borrowed(name) }
}

#[cfg(test)]
mod tests {
    use driftline_protocol::Cells;

    use super::*;

    #[test]
    fn a_change_of_type_is_told_once() {
        let db = crate::store::in_memory().unwrap();
        let mut columns = Columns::load(&db, &Model::undescribed("m"), None).unwrap();
        columns.keep(&Column { name: "hour".into(), role: Role::Feature, cells: Cells::Numbers(vec![7.0]) });
        let told = columns.first_wrong_type("column.hour").unwrap();
        assert_eq!(told, "column.hour held what is no number; such values are kept as missing");
        assert_eq!(columns.first_wrong_type("column.hour"), None);
    }

    #[test]
    fn the_model_says_what_neither_reference_nor_configuration_says() {
        let db = crate::store::in_memory().unwrap();
        let mut model = Model::undescribed("m");
        model.columns.insert("zip".to_owned(), ColumnType::Text);
        let told = ToldTypes::default();
        let mut columns = Columns::load(&db, &model, None).unwrap().with_metadata(ToldTypes::clone(&told));
        let mut kind = |name: &str, cell: Cell<'static>| {
            let column = Column { name: name.to_owned().into(), role: Role::Feature, cells: vec![cell].into() };
            match columns.keep(&column) {
                Kept::As(known) => Some(known.kind),
                Kept::Unknown | Kept::TooMany => None,
            }
        };
        assert_eq!(kind("early", Cell::Integer(1)), Some(ColumnType::Integer));
        assert_eq!(kind("age", Cell::Missing), None);
        let all = ["early", "zip", "age", "score"].map(|name| (name.to_owned(), ColumnType::Number));
        told.store(BTreeMap::from(all).into());
        assert_eq!(kind("age", Cell::Missing), Some(ColumnType::Number), "before it held anything");
        assert_eq!(kind("score", Cell::Integer(1)), Some(ColumnType::Number), "whatever came first");
        assert_eq!(kind("zip", Cell::Integer(1)), Some(ColumnType::Text), "the configuration comes before it");
        assert_eq!(kind("early", Cell::Integer(1)), Some(ColumnType::Integer), "what has a type keeps it");
        assert_eq!(kind("other", Cell::Integer(1)), Some(ColumnType::Integer));
    }

    #[test]
    fn no_name_of_a_caller_collides_with_ours_or_with_another() {
        assert_eq!(archived_name("temp"), "temp");
        assert_eq!(archived_name("column.temp"), "column.temp");
        assert_eq!(archived_name("status"), "column.status");
        assert_eq!(archived_name("column.status"), "column.column.status");
        assert_eq!(archived_name("Status"), "column.Status");
        for key in PARTITION_KEYS {
            assert_eq!(archived_name(key), format!("column.{key}"));
        }
        let mut names: Vec<String> = ["x", "column.x", "column.", ""].map(str::to_owned).to_vec();
        for reserved in META_COLUMNS.iter().chain(&PARTITION_KEYS) {
            names.extend((0..4).map(|times| format!("{}{reserved}", RENAMED.repeat(times))));
        }
        let archived: std::collections::BTreeSet<_> = names.iter().map(|name| archived_name(name)).collect();
        assert_eq!(archived.len(), names.len());
        assert!(names.iter().all(|name| name_of_archived(&archived_name(name)) == name));
        assert!(META_COLUMNS.iter().chain(&PARTITION_KEYS).all(|reserved| !archived.contains(*reserved)));
    }
}
