//! JSON Schemas, as forms and documents want them.

use schemars::JsonSchema;
use serde_json::Value;

/// The JSON Schema of a type, without references, so that a form need not resolve any.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
