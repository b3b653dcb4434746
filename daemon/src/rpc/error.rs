//! Errors of the API: a stable code, `data.kind`, and the field that is wrong as a JSON pointer.

use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};

use crate::flow::{FlowError, Problem, RegistryError};
use crate::jeedom::SetError;

/// What went wrong, for programs. Codes never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The parameters are wrong; `data.field` says which.
    InvalidParams,
    /// There is no such flow.
    UnknownFlow,
    /// The flow's spec is wrong; `data.problems` has all that is.
    InvalidSpec,
    /// The flow belongs to another owner.
    ForeignFlow,
    /// Too many flows.
    TooManyFlows,
    /// An empty list would remove flows.
    WouldRemoveAll,
    /// The flow is disabled.
    FlowDisabled,
    /// The address can't be listened on; `data.listed` says whether it is tried again.
    CannotListen,
    /// The flow can't be opened for another reason.
    CannotOpen,
    /// Done but not saved.
    NotSaved,
    /// The client speaks another version of the API.
    UnknownVersion,
    /// The daemon is about to end.
    Stopping,
    /// Others are doing the same; it may work a moment later.
    Busy,
}

impl ErrorKind {
    /// All of them, for documents.
    pub const ALL: &'static [Self] = &[
        Self::InvalidParams,
        Self::UnknownFlow,
        Self::InvalidSpec,
        Self::ForeignFlow,
        Self::TooManyFlows,
        Self::WouldRemoveAll,
        Self::FlowDisabled,
        Self::CannotListen,
        Self::CannotOpen,
        Self::NotSaved,
        Self::UnknownVersion,
        Self::Stopping,
        Self::Busy,
    ];

    /// The code and the name.
    pub fn code(self) -> (i32, &'static str) {
        match self {
            Self::InvalidParams => (-32602, "invalid_params"),
            Self::UnknownFlow => (1, "unknown_flow"),
            Self::InvalidSpec => (2, "invalid_spec"),
            Self::ForeignFlow => (3, "foreign_flow"),
            Self::TooManyFlows => (4, "too_many_flows"),
            Self::WouldRemoveAll => (5, "would_remove_all"),
            Self::FlowDisabled => (6, "flow_disabled"),
            Self::CannotListen => (7, "cannot_listen"),
            Self::CannotOpen => (8, "cannot_open"),
            Self::NotSaved => (9, "not_saved"),
            Self::UnknownVersion => (10, "unknown_version"),
            Self::Stopping => (11, "stopping"),
            Self::Busy => (12, "busy"),
        }
    }

    /// When it arises.
    pub fn about(self) -> &'static str {
        match self {
            Self::InvalidParams => "The parameters are wrong; data.field is a JSON pointer into them.",
            Self::UnknownFlow => "There is no flow with this id.",
            Self::InvalidSpec => "The flow's spec is wrong; data.problems has everything that is, each with a JSON pointer into the parameters.",
            Self::ForeignFlow => "The flow belongs to another owner.",
            Self::TooManyFlows => "The daemon takes no more flows.",
            Self::WouldRemoveAll => "An empty list would remove all flows of the owner, and allow_empty was not given.",
            Self::FlowDisabled => "The flow is disabled.",
            Self::CannotListen => {
                "The address can't be listened on. data.listed: the flow is listed nevertheless and tried again; otherwise nothing changed."
            }
            Self::CannotOpen => "The flow can't be opened. data.listed as for cannot_listen.",
            Self::NotSaved => "The change is made but could not be saved.",
            Self::Stopping => "The daemon is about to end.",
            Self::Busy => "Too many calls want the same at once: try again in a moment.",
            Self::UnknownVersion => "The client asks for a version of the API that this daemon does not speak.",
        }
    }

    /// The error object.
    pub fn object(self, message: impl Into<String>, more: Value) -> ErrorObjectOwned {
        let (code, name) = self.code();
        let mut data = json!({ "kind": name });
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        ErrorObjectOwned::owned(code, message, Some(data))
    }
}

/// The error for parameters that can't be read.
pub(super) fn invalid_params(problem: &Problem) -> ErrorObjectOwned {
    let place = problem.pointer.trim_start_matches('/');
    let message = if place.is_empty() { problem.message.clone() } else { format!("{place}: {}", problem.message) };
    ErrorKind::InvalidParams.object(message, json!({ "field": problem.pointer }))
}

fn invalid_spec(problems: &[Problem], message: String) -> ErrorObjectOwned {
    let field = problems.first().map(|p| p.pointer.clone());
    ErrorKind::InvalidSpec.object(message, json!({ "field": field, "problems": problems }))
}

impl From<RegistryError> for ErrorObjectOwned {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        match error {
            RegistryError::Unknown { .. } => ErrorKind::UnknownFlow.object(message, json!({ "field": "/id" })),
            RegistryError::UnknownCounter { name, .. } => {
                let field = format!("/counters/{}", name.replace('~', "~0").replace('/', "~1"));
                ErrorKind::InvalidParams.object(crate::text::printable(&message, 500), json!({ "field": field }))
            }
            RegistryError::Foreign { owner, .. } => ErrorKind::ForeignFlow.object(message, json!({ "field": "/id", "owner": owner })),
            RegistryError::Full => ErrorKind::TooManyFlows.object(message, json!({})),
            RegistryError::WouldEmpty { count, .. } => ErrorKind::WouldRemoveAll.object(message, json!({ "field": "/flows", "count": count })),
            RegistryError::Disabled { .. } => ErrorKind::FlowDisabled.object(message, json!({ "field": "/id" })),
            RegistryError::Request { problems } | RegistryError::Open { error: FlowError::Config { problems }, .. } => {
                invalid_spec(&problems.0, message)
            }
            RegistryError::Open { error, listed } => {
                let fault = error.fault();
                match error {
                    FlowError::Listen { .. } => {
                        ErrorKind::CannotListen.object(message, json!({ "field": "/spec/listen", "fault": fault, "listed": listed }))
                    }
                    _ => ErrorKind::CannotOpen.object(message, json!({ "fault": fault, "listed": listed })),
                }
            }
            RegistryError::Busy | RegistryError::Slow { .. } => ErrorKind::Busy.object(message, json!({})),
            RegistryError::Stopping => ErrorKind::Stopping.object(message, json!({})),
            RegistryError::Store(_) => ErrorKind::NotSaved.object(message, json!({})),
        }
    }
}

impl From<SetError> for ErrorObjectOwned {
    fn from(error: SetError) -> Self {
        match &error {
            SetError::Wrong(wrong) => invalid_params(&Problem::new(wrong.pointer, &wrong.message)),
            SetError::Stopping => ErrorKind::Stopping.object(error.to_string(), json!({})),
            SetError::Store(_) => ErrorKind::NotSaved.object(error.to_string(), json!({})),
        }
    }
}
