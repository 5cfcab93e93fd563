//! The clients of the SDK, made once at start from the environment: the region, the endpoint and the default chain of
//! credentials (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>).

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::meter::Meter;
use crate::settings::Settings;

/// Attempts of one request by the SDK itself. The engine's loops back off on their own.
const MAX_ATTEMPTS: u32 = 3;
/// The longest wait between two of them.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// From the request to the first byte of its answer, and to its last: `DynamoDB` and SQS answer in milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// With all attempts and the waits between them.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(25);
/// SQS holds a receive for as long as 20 s before it answers (`WaitTimeSeconds`).
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// A client of each service that the adapters use. Its clones share connections.
#[derive(Debug, Clone)]
pub struct Clients {
    /// `DynamoDB`.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SQS, for all requests but long polls.
    pub sqs: aws_sdk_sqs::Client,
    /// SQS, for receiving: it waits for as long as SQS may hold a receive, and does not repeat one by itself.
    pub sqs_receive: aws_sdk_sqs::Client,
    /// `EventBridge`.
    pub eventbridge: aws_sdk_eventbridge::Client,
    /// `EventBridge` Scheduler.
    pub scheduler: aws_sdk_scheduler::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
}

impl Clients {
    /// Makes the clients. Only the chain of credentials may make requests yet. `credentials`: in place of the default
    /// chain. `patience`: so many times the usual time limits.
    pub(crate) async fn connect(
        settings: &Settings,
        credentials: Option<SharedCredentialsProvider>,
        patience: u32,
        meter: &Meter,
    ) -> Self {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .http_client(http_client())
            .retry_config(retries())
            .timeout_config(timeouts(patience));
        let loader = match &settings.endpoint {
            Some(endpoint) => loader.endpoint_url(endpoint),
            None => loader,
        };
        let loader = match credentials {
            Some(credentials) => loader.credentials_provider(credentials),
            None => loader,
        };
        Self::new(&loader.load().await, settings.endpoint.is_some(), patience, meter)
    }

    /// The clients of a configuration. `is_local`: it is not AWS itself, and buckets are no names of hosts there.
    pub(crate) fn new(config: &SdkConfig, is_local: bool, patience: u32, meter: &Meter) -> Self {
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).interceptor(meter.clone()).build();
        let sqs = aws_sdk_sqs::config::Builder::from(config).interceptor(meter.clone());
        let receive =
            sqs.clone().timeout_config(receive_timeouts(patience)).retry_config(RetryConfig::disabled()).build();
        let eventbridge = aws_sdk_eventbridge::config::Builder::from(config).interceptor(meter.clone()).build();
        let scheduler = aws_sdk_scheduler::config::Builder::from(config).interceptor(meter.clone()).build();
        let s3 = aws_sdk_s3::config::Builder::from(config).interceptor(meter.clone()).force_path_style(is_local);
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            sqs_receive: aws_sdk_sqs::Client::from_conf(receive),
            eventbridge: aws_sdk_eventbridge::Client::from_conf(eventbridge),
            scheduler: aws_sdk_scheduler::Client::from_conf(scheduler),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
        }
    }
}

/// The SDK's default client, but with the cryptography of ring, which the facade's client has too.
fn http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS).with_max_backoff(MAX_BACKOFF)
}

fn timeouts(patience: u32) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT * patience)
        .read_timeout(READ_TIMEOUT * patience)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT * patience)
        .operation_timeout(OPERATION_TIMEOUT * patience)
        .build()
}

/// A receive that was not answered may have hidden messages: its caller decides when to ask again.
fn receive_timeouts(patience: u32) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT * patience)
        .read_timeout(LONGEST_POLL + READ_TIMEOUT * patience)
        .operation_attempt_timeout(LONGEST_POLL + ATTEMPT_TIMEOUT * patience)
        .operation_timeout(LONGEST_POLL + ATTEMPT_TIMEOUT * patience)
        .build()
}
