"""SQS: a client, and the address of a queue by its name."""

from typing import Any

from controltower.collector.scrapers.definition import BrokerSource
from controltower.collector.scrapers.errors import AddressError


def connected(source: BrokerSource) -> Any:
    """Return a client of SQS; AddressError. Who we are and where is told by the options, or as AWS's own programs are told."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise AddressError("SQS needs boto3: pip install 'controltower[queues]'.") from None
    return boto3.client("sqs", config=Config(connect_timeout=10, read_timeout=30), **source.settings())


def address_of(client: Any, queue: str) -> str:
    """Return the address of a queue; an error of boto3 when there is none."""
    return str(client.get_queue_url(QueueName=queue)["QueueUrl"])
