//! The resources of the template, made once, under the names in the programs' settings. They are the table with its
//! indexes, the queues, the bus, the schedule group and the bucket.

use std::error::Error;
use std::sync::OnceLock;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType, TimeToLiveSpecification,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use windlass_aws::{AwsHost, Program, Settings};

use crate::emulator::Emulator;

/// Requests may take a minute. A repeated request would be counted twice, and might meet its own effect.
const PATIENCE: u32 = 12;
pub(crate) const REGION: &str = "eu-central-1";
const NAME: &str = "wire";
const POOLS: &str = "default,other";
const BUCKET: &str = "wire-payloads";
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/wire-scheduler";
const INBOX_ARN: &str = "arn:aws:sqs:eu-central-1:000000000000:wire-inbox";
const SCHEDULES_DLQ_ARN: &str = "arn:aws:sqs:eu-central-1:000000000000:wire-schedules-dlq";

/// The stack of this binary.
pub(crate) struct Stack {
    emulator: Emulator,
}

impl Stack {
    /// The stack, made by the first test that asks for it.
    ///
    /// # Panics
    /// If the emulator does not start; the message says how to install it.
    pub(crate) fn get() -> &'static Self {
        static STACK: OnceLock<Result<Stack, String>> = OnceLock::new();
        STACK.get_or_init(Self::make).as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    /// On a thread and a runtime of its own: each test has its own runtime, and clients do not outlive theirs.
    fn make() -> Result<Self, String> {
        let stack = Self { emulator: Emulator::start()? };
        let deployed = std::thread::scope(|scope| {
            let deploy = || {
                let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
                runtime.block_on(async { deploy(&stack.host().await).await.map_err(|error| format!("{error:?}")) })
            };
            scope.spawn(deploy).join().unwrap_or_else(|_| Err("the thread panicked".to_owned()))
        });
        deployed.map_err(|error| format!("failed to make the resources of the stack: {error}"))?;
        Ok(stack)
    }

    /// The settings of the stack's programs; `more` adds or replaces environment variables.
    pub(crate) fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let lookup = |name: &str| {
            let own = more.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
            let value = own.or(match name {
                "WINDLASS_NAME" => Some(NAME),
                "AWS_REGION" => Some(REGION),
                "WINDLASS_BUCKET" => Some(BUCKET),
                "WINDLASS_SCHEDULE_ROLE_ARN" => Some(ROLE_ARN),
                "WINDLASS_INBOX_ARN" => Some(INBOX_ARN),
                "WINDLASS_SCHEDULES_DLQ_ARN" => Some(SCHEDULES_DLQ_ARN),
                "WINDLASS_POOLS" => Some(POOLS),
                "AWS_ENDPOINT_URL" => Some(self.emulator.endpoint.as_str()),
                "WINDLASS_METER_READS" => Some("sized"),
                _ => None,
            });
            value.map(str::to_owned)
        };
        Settings::read(lookup, Program::Coordinator).expect("the settings are whole")
    }

    /// The stack as a program sees it, with clients of its own.
    pub(crate) async fn host(&self) -> AwsHost {
        self.host_with(self.settings(&[])).await
    }

    /// The stack as a program with other settings sees it.
    pub(crate) async fn host_with(&self, settings: Settings) -> AwsHost {
        let credentials = Credentials::new("test", "test", None, None, "the local stack");
        AwsHost::connect_as(settings, SharedCredentialsProvider::new(credentials), PATIENCE).await
    }
}

async fn deploy(host: &AwsHost) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (clients, settings) = (host.clients(), host.settings());
    make_table(&clients.dynamodb, &settings.table).await?;
    for queue in ["inbox", "inbox-dlq", "claims", "pool-default", "pool-default-dlq", "dead-letters"] {
        clients.sqs.create_queue().queue_name(format!("{}{queue}", settings.queue_prefix)).send().await?;
    }
    clients.eventbridge.create_event_bus().name(&settings.bus).send().await?;
    clients.scheduler.create_schedule_group().name(&settings.schedule_group).send().await?;
    let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
    clients.s3.create_bucket().bucket(&settings.bucket).create_bucket_configuration(place).send().await?;
    Ok(())
}

async fn make_table(client: &aws_sdk_dynamodb::Client, table: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let texts = ["pk", "sk", "list_key", "due_shard"].map(|name| attribute(name, ScalarAttributeType::S));
    let numbers = ["submitted_at", "due_at"].map(|name| attribute(name, ScalarAttributeType::N));
    let request = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(texts.into_iter().chain(numbers).collect()))
        .set_key_schema(Some(keys("pk", "sk")))
        .global_secondary_indexes(index("runs", "list_key", "submitted_at"))
        .global_secondary_indexes(index("due", "due_shard", "due_at"))
        .stream_specification(stream());
    request.send().await?;
    let expiry = TimeToLiveSpecification::builder().attribute_name("expires_at").enabled(true).build()?;
    client.update_time_to_live().table_name(table).time_to_live_specification(expiry).send().await?;
    Ok(())
}

fn stream() -> StreamSpecification {
    let images = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
    images.build().expect("all is set")
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().expect("all is set")
}

fn keys(hash: &str, range: &str) -> Vec<KeySchemaElement> {
    let key = |name, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    vec![key(hash, KeyType::Hash).expect("all is set"), key(range, KeyType::Range).expect("all is set")]
}

fn index(name: &str, hash: &str, range: &str) -> GlobalSecondaryIndex {
    let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    let index = GlobalSecondaryIndex::builder().index_name(name).set_key_schema(Some(keys(hash, range)));
    index.projection(projection).build().expect("all is set")
}
