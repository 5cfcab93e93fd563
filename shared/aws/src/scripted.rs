//! AWS as a test writes it: answers to requests that the clients really made, without a network.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use crate::clients::Clients;
use crate::meter::{Meter, ReadUnits};
use crate::settings::{Program, Settings};

/// A request: the operation, and its input.
pub(crate) type Asked = (String, Value);

/// Gives the answer to an operation and its input: the status and the body.
type Answer = dyn FnMut(&str, &Value) -> (u16, Value) + Send;

/// Services that speak JSON (SQS, `DynamoDB`, `EventBridge`), answered by a function.
#[derive(Clone)]
pub(crate) struct Scripted {
    answer: Arc<Mutex<Box<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    pub(crate) fn new(answer: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static) -> Self {
        Self { answer: Arc::new(Mutex::new(Box::new(answer))), asked: Arc::default() }
    }

    /// Clients that speak to it, and their meter. The SDK tries that often.
    pub(crate) fn clients(&self, attempts: u32) -> (Clients, Meter) {
        let connector = SharedHttpConnector::new(self.clone());
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "a test")))
            .retry_config(RetryConfig::standard().with_max_attempts(attempts))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        let meter = Meter::new(ReadUnits::Reported);
        (Clients::new(&config, true, 1, &meter), meter)
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let input = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or(Value::Null);
        let (status, body) = self.answer.lock().unwrap_or_else(PoisonError::into_inner)(&operation, &input);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((operation, input));
        let status = StatusCode::try_from(status).expect("it is a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body.to_string()))))
    }
}

/// An error as these services say it.
pub(crate) fn error(status: u16, code: &str) -> (u16, Value) {
    (status, json!({ "__type": code, "message": "as AWS says" }))
}

pub(crate) fn settings() -> Settings {
    let lookup = |name: &str| match name {
        "WINDLASS_NAME" => Some("prod".to_owned()),
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "WINDLASS_BUCKET" => Some("payloads".to_owned()),
        _ => None,
    };
    Settings::read(lookup, Program::Agent).expect("nothing is missing")
}
