//! What one attempt of a flow leaves to the next: what it has found out, and need not be found out again.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// One value a type, as long as the flow is listed.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Vec<Arc<dyn Any + Send + Sync>>>);

impl Kept {
    /// What was left of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find_map(|value| Arc::clone(value).downcast().ok())
    }

    /// Leaves a value, instead of the one of its type that was there.
    pub fn put<T: Any + Send + Sync>(&self, value: Arc<T>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|old| !old.is::<T>());
        kept.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_value_a_type() {
        let kept = Kept::default();
        assert_eq!(kept.get::<u8>(), None);
        kept.put(Arc::new(1u8));
        kept.put(Arc::new("text"));
        kept.put(Arc::new(2u8));
        assert_eq!((kept.get::<u8>(), kept.get::<&str>()), (Some(Arc::new(2)), Some(Arc::new("text"))));
    }
}
