//! `GET /v1/openapi.json`: what can be asked over HTTP, for programs. The description is a file; that it
//! says what the routes do is seen by the tests.

use axum::http::header;
use axum::response::IntoResponse;

/// The description, OpenAPI 3.1.
pub(crate) const DESCRIPTION: &str = include_str!("openapi.json");

/// Answers with the description.
pub(crate) async fn describe() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// `(path, method)` of each route that the router has, as its source says.
    fn routes() -> BTreeSet<(String, &'static str)> {
        let source = include_str!("../http.rs");
        let mut routes = BTreeSet::new();
        for line in source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
            let (path, methods) = line.split_once("\",").expect("a path and what serves it");
            for method in ["get", "post", "put", "delete"] {
                if methods.contains(&format!("{method}(")) {
                    routes.insert((path.to_owned(), method));
                }
            }
        }
        assert!(routes.len() > 6, "the router is written in another way");
        routes
    }

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).expect("it is JSON")
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let description = description();
        let paths = description["paths"].as_object().expect("paths");
        let mut described = BTreeSet::new();
        for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/v1/")) {
            for method in ["get", "post", "put", "delete"] {
                if item.get(method).is_some() {
                    described.insert((path.clone(), method));
                }
            }
        }
        assert_eq!(described, routes());
    }

    #[test]
    fn every_operation_says_what_it_answers_and_every_reference_leads_somewhere() {
        let description = description();
        for (path, item) in description["paths"].as_object().expect("paths") {
            for method in ["get", "post"] {
                let Some(operation) = item.get(method) else { continue };
                let answers = operation["responses"].as_object().expect("answers");
                assert!(answers.keys().any(|status| status.starts_with('2')), "{path}");
                assert!(answers.contains_key("default"), "{path}: problems");
                assert!(operation["operationId"].is_string(), "{path}");
            }
        }
        let mut stack = vec![&description];
        while let Some(value) = stack.pop() {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').expect("within the file");
                assert!(description.pointer(pointer).is_some(), "{reference}");
            }
            stack.extend(value.as_object().into_iter().flat_map(|object| object.values()));
            stack.extend(value.as_array().into_iter().flatten());
        }
    }
}
