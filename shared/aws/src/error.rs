//! Failures of AWS requests, classified once for every service, by the code that the service gives: never by the
//! text of a message.

use std::error::Error;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use windlass_engine::ports::{ErrorClass, PortError};

/// A batch or a message is over its limit.
pub(crate) const OVER_LIMIT: &str = "WL0314";
/// AWS is out of reach, or asks to come later.
pub(crate) const UNAVAILABLE: &str = "WL0330";
/// There is no such queue.
pub(crate) const NO_QUEUE: &str = "WL0331";
/// AWS does not allow the request, or does not know the caller.
pub(crate) const DENIED: &str = "WL0332";
/// AWS refuses the request as wrong.
pub(crate) const INVALID: &str = "WL0333";
/// There is no such table, bus, schedule group or bucket.
pub(crate) const NO_RESOURCE: &str = "WL0334";
/// This program does not know AWS's answer.
pub(crate) const UNEXPECTED: &str = "WL0335";

/// Bytes of AWS's own message that an error repeats.
const MAX_TOLD_BYTES: usize = 512;

/// The kinds of failure, the same for all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Throttled,
    Unavailable,
    Conflict,
    NoQueue,
    Denied,
    Invalid,
    NoResource,
    Unexpected,
}

impl Kind {
    fn class(self) -> ErrorClass {
        match self {
            // A denial ends when an operator corrects the role, so no attempt may fail for good because of one.
            Self::Throttled | Self::Unavailable | Self::Denied => ErrorClass::Retry,
            Self::Conflict => ErrorClass::Conflict,
            Self::NoQueue | Self::Invalid | Self::NoResource => ErrorClass::Reject,
            Self::Unexpected => ErrorClass::Bug,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Throttled | Self::Unavailable => UNAVAILABLE,
            Self::Conflict => "WL0302",
            Self::NoQueue => NO_QUEUE,
            Self::Denied => DENIED,
            Self::Invalid => INVALID,
            Self::NoResource => NO_RESOURCE,
            Self::Unexpected => UNEXPECTED,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Throttled => "AWS asks to come later",
            Self::Unavailable => "AWS is out of reach",
            Self::Conflict => "the record has been changed in between",
            Self::NoQueue => "there is no such queue",
            Self::Denied => "AWS does not allow it",
            Self::Invalid => "AWS refuses it as wrong",
            Self::NoResource => "there is no such resource",
            Self::Unexpected => "AWS gave an answer that is not known here",
        }
    }
}

/// A failed request as the engine sees it. `operation` is the API's name of it (`PutItem`), `subject` its resource (the
/// table's name). The message never holds the request's values.
///
/// It fits `map_err(|error| classify("PutItem", table, &error))`.
pub(crate) fn classify<E>(operation: &str, subject: &str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (kind, cause) = match error {
        SdkError::ServiceError(failure) => {
            let status = failure.raw().status().as_u16();
            (kind_of(failure.err().code(), status), told(failure.err()))
        }
        // The SDK could not build the request, and sent nothing.
        SdkError::ConstructionFailure(_) => (Kind::Unexpected, chain(error)),
        // Out of reach, timed out, without credentials for the moment, or broken off in the middle of the answer.
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
            (Kind::Unavailable, chain(error))
        }
    };
    port_error(operation, subject, kind, &cause)
}

/// A cancelled transaction: what its reasons say. A failed condition, or another transaction on the same item, is a
/// conflict.
pub(crate) fn classify_transaction(
    subject: &str,
    error: &SdkError<TransactWriteItemsError, HttpResponse>,
) -> PortError {
    const OPERATION: &str = "TransactWriteItems";
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return classify(OPERATION, subject, error);
    };
    let kind = kind_of_reasons(cancelled.cancellation_reasons());
    port_error(OPERATION, subject, kind, &told(cancelled))
}

/// The failure of one entry of an accepted batch, by the entry's code and message. If the code is unknown, the
/// service's word for whose fault it is decides.
pub(crate) fn classify_entry(
    operation: &str,
    subject: &str,
    sender_fault: bool,
    (code, message): (Option<&str>, Option<&str>),
) -> PortError {
    let cause = format!("{}: {}", code.unwrap_or("no code"), shortened(message.unwrap_or("no message")));
    let status = if sender_fault { 400 } else { 500 };
    port_error(operation, subject, kind_of(code, status), &cause)
}

fn port_error(operation: &str, subject: &str, kind: Kind, cause: &str) -> PortError {
    let message = format!("call {operation} on {subject}: {} ({cause})", kind.words());
    PortError::new(kind.class(), kind.code(), message)
}

fn kind_of_reasons(reasons: &[CancellationReason]) -> Kind {
    // The worst for the caller first: an invalid request stays invalid, even if another writer caused a conflict too.
    const ORDER: [Kind; 4] = [Kind::Invalid, Kind::NoResource, Kind::Conflict, Kind::Throttled];
    let codes = reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None");
    let kinds: Vec<Kind> = codes.map(|code| kind_of(Some(code), 500)).collect();
    ORDER.into_iter().find(|kind| kinds.contains(kind)).unwrap_or(Kind::Unavailable)
}

/// The prefix of SQS's codes in its older protocol, which it still sends beside the others.
const SQS_PREFIX: &str = "AWS.SimpleQueueService.";

/// By the service's code; by the status where the code is not known.
fn kind_of(code: Option<&str>, status: u16) -> Kind {
    let code = code.map(|code| code.strip_prefix(SQS_PREFIX).unwrap_or(code));
    match code {
        Some(code) if is_conflict(code) => Kind::Conflict,
        Some("QueueDoesNotExist" | "NonExistentQueue") => Kind::NoQueue,
        // SQS lets a name rest for a minute after its queue was deleted.
        Some("QueueDeletedRecently") => Kind::Unavailable,
        Some("ResourceNotFoundException" | "NoSuchBucket" | "TableNotFoundException") => Kind::NoResource,
        Some(code) if is_throttling(code) => Kind::Throttled,
        Some(code) if is_passing(code) => Kind::Unavailable,
        Some(code) if is_denial(code) => Kind::Denied,
        Some(code) if is_invalid(code) => Kind::Invalid,
        _ => kind_of_status(status),
    }
}

fn is_conflict(code: &str) -> bool {
    const CODES: [&str; 8] = [
        "ConditionalCheckFailed",
        "ConditionalCheckFailedException",
        // Another transaction is at work on the item.
        "TransactionConflict",
        "TransactionConflictException",
        // S3's conditional writes, and two writers of one object or schedule at a time.
        "ConditionalRequestConflict",
        "ConflictException",
        "OperationAborted",
        "PreconditionFailed",
    ];
    CODES.contains(&code)
}

fn is_throttling(code: &str) -> bool {
    const CODES: [&str; 18] = [
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "SlowDown",
        "OverLimit",
        "KmsThrottled",
        "ReplicatedWriteConflictException",
    ];
    CODES.contains(&code)
}

fn is_passing(code: &str) -> bool {
    const CODES: [&str; 15] = [
        "InternalError",
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
        // The SDK fetches new credentials for expired ones, and corrects a wrong clock.
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "RequestInTheFuture",
        "ResourceInUseException",
    ];
    CODES.contains(&code)
}

fn is_denial(code: &str) -> bool {
    const CODES: [&str; 19] = [
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "KmsAccessDenied",
        "KmsDisabled",
        "KmsInvalidKeyUsage",
        "KmsInvalidState",
        "KmsNotFound",
        "KmsOptInRequired",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ];
    CODES.contains(&code)
}

fn is_invalid(code: &str) -> bool {
    const CODES: [&str; 24] = [
        "BatchEntryIdsNotDistinct",
        "BatchRequestTooLong",
        "EmptyBatchRequest",
        "EntityTooLarge",
        "InvalidAddress",
        "InvalidArgument",
        "InvalidAttributeName",
        "InvalidAttributeValue",
        "InvalidBatchEntryId",
        "InvalidMessageContents",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "ItemCollectionSizeLimitExceeded",
        "ItemCollectionSizeLimitExceededException",
        "MalformedDetail",
        "MessageNotInflight",
        "MissingParameter",
        "NotAuthorizedForSourceException",
        "ReceiptHandleIsInvalid",
        "ServiceQuotaExceededException",
        "TooManyEntriesInBatchRequest",
        "UnsupportedOperation",
        "ValidationError",
        "ValidationException",
    ];
    CODES.contains(&code)
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        429 => Kind::Throttled,
        401 | 403 => Kind::Denied,
        409 | 412 => Kind::Conflict,
        408 | 500..=599 => Kind::Unavailable,
        400..=499 => Kind::Invalid,
        _ => Kind::Unexpected,
    }
}

/// The service's code and message.
fn told(error: &impl ProvideErrorMetadata) -> String {
    let (code, message) = (error.code().unwrap_or("no code"), error.message().unwrap_or("no message"));
    format!("{code}: {}", shortened(message))
}

/// A failure of this side of the wire, with its causes.
fn chain<E, R>(error: &SdkError<E, R>) -> String
where
    E: Error + 'static,
    R: std::fmt::Debug,
{
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    shortened(&text).to_owned()
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TOLD_BYTES)]
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;
    use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    type Failure = SdkError<SendMessageBatchError, HttpResponse>;

    fn response(status: u16) -> HttpResponse {
        HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from("payload"))
    }

    fn answered(code: &str, status: u16) -> Failure {
        let metadata = ErrorMetadata::builder().code(code).message("as AWS says").build();
        SdkError::service_error(SendMessageBatchError::generic(metadata), response(status))
    }

    fn check(failure: &Failure, class: ErrorClass, code: &str) {
        let found = classify("SendMessageBatch", "windlass-inbox", failure);
        assert_eq!((found.class, found.code), (class, code), "{failure:?}");
        assert!(found.message.contains("SendMessageBatch on windlass-inbox"), "{}", found.message);
        assert!(!found.message.contains("payload"), "{}", found.message);
    }

    #[test]
    fn each_answer_has_its_class() {
        use ErrorClass::{Bug, Conflict, Reject, Retry};
        let cases = [
            ("ThrottlingException", 400, Retry, UNAVAILABLE),
            ("RequestThrottled", 403, Retry, UNAVAILABLE),
            ("ProvisionedThroughputExceededException", 400, Retry, UNAVAILABLE),
            ("SlowDown", 503, Retry, UNAVAILABLE),
            ("InternalServerError", 500, Retry, UNAVAILABLE),
            ("ExpiredTokenException", 400, Retry, UNAVAILABLE),
            ("AWS.SimpleQueueService.QueueDeletedRecently", 400, Retry, UNAVAILABLE),
            ("ConditionalCheckFailedException", 400, Conflict, "WL0302"),
            ("TransactionConflictException", 400, Conflict, "WL0302"),
            ("PreconditionFailed", 412, Conflict, "WL0302"),
            ("QueueDoesNotExist", 400, Reject, NO_QUEUE),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Reject, NO_QUEUE),
            ("AccessDeniedException", 400, Retry, DENIED),
            ("AccessDenied", 403, Retry, DENIED),
            ("KmsAccessDenied", 400, Retry, DENIED),
            ("ValidationException", 400, Reject, INVALID),
            ("InvalidMessageContents", 400, Reject, INVALID),
            ("ResourceNotFoundException", 400, Reject, NO_RESOURCE),
            // The status decides if the code is unknown.
            ("SomethingOfNextYear", 400, Reject, INVALID),
            ("SomethingOfNextYear", 403, Retry, DENIED),
            ("SomethingOfNextYear", 429, Retry, UNAVAILABLE),
            ("SomethingOfNextYear", 503, Retry, UNAVAILABLE),
            ("SomethingOfNextYear", 302, Bug, UNEXPECTED),
        ];
        for (code, status, class, ours) in cases {
            check(&answered(code, status), class, ours);
        }
    }

    #[test]
    fn request_without_an_answer_is_retried() {
        for failure in [
            Failure::timeout_error("it took too long"),
            Failure::dispatch_failure(ConnectorError::io("connection refused".into())),
            Failure::response_error("broken off", response(200)),
        ] {
            check(&failure, ErrorClass::Retry, UNAVAILABLE);
        }
        check(&Failure::construction_failure("a field is missing"), ErrorClass::Bug, UNEXPECTED);
    }

    #[test]
    fn message_has_the_cause_within_bounds() {
        let refused = Failure::dispatch_failure(ConnectorError::io("connection refused".into()));
        assert!(classify("GetItem", "t", &refused).message.contains("connection refused"));
        let long = Failure::timeout_error("ž".repeat(4000));
        assert!(classify("GetItem", "t", &long).message.len() < 700);
    }

    #[test]
    fn a_cancelled_transaction_goes_by_its_reasons() {
        use ErrorClass::{Conflict, Reject, Retry};
        let cases: [(&[&str], ErrorClass); 6] = [
            (&["None", "ConditionalCheckFailed"], Conflict),
            (&["TransactionConflict", "None"], Conflict),
            (&["ThrottlingError", "None"], Retry),
            (&["ThrottlingError", "ConditionalCheckFailed"], Conflict),
            (&["ConditionalCheckFailed", "ValidationError"], Reject),
            (&[], Retry),
        ];
        for (codes, class) in cases {
            let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
            let cancelled = TransactionCanceledException::builder()
                .set_cancellation_reasons(Some(reasons))
                .meta(ErrorMetadata::builder().code("TransactionCanceledException").build())
                .build();
            let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
            let found = classify_transaction("windlass", &SdkError::service_error(error, response(400)));
            assert_eq!(found.class, class, "{codes:?}");
        }
    }

    #[test]
    fn an_entry_goes_by_its_code() {
        let class = |ours, code| classify_entry("PutEvents", "windlass", ours, (code, Some("message"))).class;
        assert_eq!(class(true, Some("RequestThrottled")), ErrorClass::Retry);
        assert_eq!(class(false, Some("InvalidMessageContents")), ErrorClass::Reject);
        assert_eq!(class(false, Some("SomethingOfNextYear")), ErrorClass::Retry);
        assert_eq!(class(true, Some("SomethingOfNextYear")), ErrorClass::Reject);
        assert_eq!(class(false, None), ErrorClass::Retry);
    }
}
