//! The addresses of queues, each asked for once.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use windlass_engine::ports::{ErrorClass, PortError, QueueName};

use crate::error::{UNEXPECTED, classify};

/// How many addresses a process keeps. Agents come and go, each with a queue of its own.
const MAX_KEPT: usize = 1024;
/// How long an agent's control queue keeps a message, in seconds; an older order has no use.
const CONTROL_RETENTION_SECONDS: &str = "3600";
/// The tag on queues that a program made, which the template's queues do not have. Its value is the stack's name.
const STACK_TAG: &str = "windlass:stack";
/// The tag that names the agent whose queue it is.
const AGENT_TAG: &str = "windlass:agent";

#[derive(Debug)]
pub(super) struct Urls {
    client: Client,
    stack: String,
    known: RwLock<HashMap<QueueName, String>>,
}

impl Urls {
    pub(super) fn new(client: Client, stack: &str) -> Self {
        Self { client, stack: stack.to_owned(), known: RwLock::default() }
    }

    /// The address of a queue.
    pub(super) async fn get(&self, queue: &QueueName, name: &str) -> Result<String, PortError> {
        const OPERATION: &str = "GetQueueUrl";
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(queue).cloned();
        if let Some(url) = known {
            return Ok(url);
        }
        let answer = self.client.get_queue_url().queue_name(name).send().await;
        let answer = answer.map_err(|error| classify(OPERATION, name, &error))?;
        self.keep(queue, answer.queue_url, OPERATION, name)
    }

    /// Makes the control queue of an agent, or finds it.
    pub(super) async fn make(&self, queue: &QueueName, name: &str) -> Result<(), PortError> {
        const OPERATION: &str = "CreateQueue";
        let mut request = self.client.create_queue().queue_name(name).tags(STACK_TAG, &self.stack);
        if let QueueName::Control { agent, .. } = queue {
            request = request
                .attributes(QueueAttributeName::MessageRetentionPeriod, CONTROL_RETENTION_SECONDS)
                .tags(AGENT_TAG, agent.as_str());
        }
        let answer = request.send().await.map_err(|error| classify(OPERATION, name, &error))?;
        self.keep(queue, answer.queue_url, OPERATION, name).map(drop)
    }

    fn keep(&self, queue: &QueueName, url: Option<String>, operation: &str, name: &str) -> Result<String, PortError> {
        let Some(url) = url else {
            let message = format!("call {operation} on {name}: the answer has no address");
            return Err(PortError::new(ErrorClass::Bug, UNEXPECTED, message));
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KEPT {
            known.clear();
        }
        known.insert(queue.clone(), url.clone());
        Ok(url)
    }

    /// Asks again the next time.
    pub(super) fn forget(&self, queue: &QueueName) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }
}
