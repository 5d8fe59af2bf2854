"""What boto3 and obstore raise, as the errors of ours that callers decide on."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    ResponseStreamingError,
)
from botocore.exceptions import (
    ConnectionError as EndpointUnreachable,
)
from obstore import exceptions as bulk_errors

from tasks.clients.errors import Conflict, Denied, Malformed, NotFound, Transient
from tasks.domain.errors import BadInput

_MISSING = {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NotFound", "404"}
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401", "403"}
_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_FIRST_RETRYABLE = 500


@contextmanager
def translated_errors(permission: str, bucket: str, key: str) -> Iterator[None]:
    """Vendor errors as ours; `permission` is named when it is what is missing.

    obstore raises some of its errors as Python's own FileNotFoundError and PermissionError, so
    local files are opened outside.
    """
    what = f"s3://{bucket}/{key}"
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, permission, what) from error
    except (
        PermissionError,
        NoCredentialsError,
        bulk_errors.PermissionDeniedError,
        bulk_errors.UnauthenticatedError,
    ) as error:
        raise Denied(f"{what}: {permission} was refused; check the access key") from error
    except (FileNotFoundError, bulk_errors.NotFoundError) as error:
        raise NotFound(f"{what} does not exist") from error
    except bulk_errors.PreconditionError as error:
        raise Conflict(f"{what} was replaced while it was read") from error
    except (
        EndpointUnreachable,
        HTTPClientError,
        ResponseStreamingError,
        bulk_errors.GenericError,
    ) as error:
        raise Transient(f"{what}: the object store cannot be reached: {_short(error)}") from error
    except ParamValidationError as error:
        raise BadInput(f"{what}: {_short(error)}") from error
    except (BotoCoreError, bulk_errors.BaseError) as error:
        raise Malformed(f"{what}: {_short(error)}") from error


def _of_answer(
    error: ClientError, permission: str, what: str
) -> Denied | NotFound | Conflict | Transient | Malformed:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MISSING:
        return NotFound(f"{what} does not exist")
    if code in _DENIED:
        return Denied(f"{what}: {permission} was refused ({code}); grant it or check the key")
    if code in _EXISTS or code.startswith("BucketAlready"):
        return Conflict(f"{what} exists with other content, or changed meanwhile")
    if status >= _FIRST_RETRYABLE or code in {"SlowDown", "RequestTimeout", "Throttling"}:
        return Transient(f"{what}: the object store answered {status} {code}")
    return Malformed(f"{what}: the object store answered {status} {code}: {_short(error)}")


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]
