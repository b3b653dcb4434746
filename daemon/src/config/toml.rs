//! A TOML text as JSON values, with the place of each.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value};
use toml_edit::{Document, Item, TableLike, Value as Toml};

use super::FileProblem;
use crate::flow::Problem;
use crate::text::printable;

/// A parsed text.
pub(super) struct Source<'a> {
    text: &'a str,
    pub(super) fields: Map<String, Value>,
    /// Where each JSON pointer stands, as a range of bytes.
    spans: HashMap<String, Range<usize>>,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<FileProblem>> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut source = Self { text, fields: Map::new(), spans: HashMap::new(), lines };
        let document = Document::parse(text).map_err(|error| {
            let at = source.line_and_column(error.span().map_or(0, |s| s.start));
            vec![FileProblem { at, item: String::new(), message: error.message().replace('\n', ", ") }]
        })?;
        source.fields = source.table("", document.as_table());
        Ok(source)
    }

    fn table(&mut self, pointer: &str, table: &dyn TableLike) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, item) in table.iter() {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            if let Some(span) = table.key(name).and_then(toml_edit::Key::span) {
                self.spans.insert(pointer.clone(), span);
            }
            fields.insert(name.to_owned(), self.item(&pointer, item));
        }
        fields
    }

    fn item(&mut self, pointer: &str, item: &Item) -> Value {
        if let (Some(span), Item::Value(_)) = (item.span(), item) {
            self.spans.insert(pointer.to_owned(), span);
        }
        match item {
            Item::None => Value::Null,
            Item::Table(table) => Value::Object(self.table(pointer, table)),
            Item::ArrayOfTables(tables) => {
                let item = |(i, table): (usize, &toml_edit::Table)| {
                    let pointer = format!("{pointer}/{i}");
                    if let Some(span) = table.span() {
                        self.spans.insert(pointer.clone(), span);
                    }
                    Value::Object(self.table(&pointer, table))
                };
                tables.iter().enumerate().map(item).collect()
            }
            Item::Value(value) => self.value(pointer, value),
        }
    }

    fn value(&mut self, pointer: &str, value: &Toml) -> Value {
        match value {
            Toml::String(text) => Value::from(text.value().as_str()),
            Toml::Integer(number) => Value::from(*number.value()),
            Toml::Float(number) => Value::from(*number.value()),
            Toml::Boolean(truth) => Value::from(*truth.value()),
            Toml::Datetime(time) => Value::from(time.value().to_string()),
            Toml::InlineTable(table) => Value::Object(self.table(pointer, table)),
            Toml::Array(items) => {
                let item = |(i, value): (usize, &Toml)| {
                    let pointer = format!("{pointer}/{i}");
                    if let Some(span) = value.span() {
                        self.spans.insert(pointer.clone(), span);
                    }
                    self.value(&pointer, value)
                };
                items.iter().enumerate().map(item).collect()
            }
        }
    }

    /// The problem with the place of what it is about, or of what that is missing in.
    pub(super) fn place(&self, problem: Problem) -> FileProblem {
        let mut pointer = problem.pointer.as_str();
        let span = loop {
            if let Some(span) = self.spans.get(pointer) {
                break Some(span.start);
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => break None,
            }
        };
        let item = problem.pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
        let item = printable(&item, 200);
        FileProblem { at: self.line_and_column(span.unwrap_or(0)), item, message: problem.message }
    }

    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text.get(start..byte).map_or(0, |before| before.chars().count()) + 1)
    }
}
