//! The hash and the decision meet every vector computed with the Python SDK.

#![allow(clippy::unwrap_used)]

use retrace_protocol::sampling::{hash, is_sampled};
use serde_json::Value;

#[test]
fn every_vector_is_met() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("sampling-vectors.json")).unwrap();
    assert_eq!(vectors.len(), 200);
    for v in vectors {
        let (seed, key) = (v["seed"].as_str().unwrap(), v["key"].as_str().unwrap());
        assert_eq!(u64::from(hash(seed, key)), v["hash_u32"].as_u64().unwrap(), "{v}");
        assert_eq!(is_sampled(v["rate"].as_f64().unwrap(), seed, key), v["sampled"].as_bool().unwrap(), "{v}");
    }
}
