"""The messages that the security whitepaper (OCPP 1.6 security, edition 2) adds to OCPP 1.6."""

from ampgate.ocpp.v16.enumerations import (
    CertificateSignedStatus,
    CertificateUse,
    DeleteCertificateStatus,
    ExtendedMessageTrigger,
    GenericStatus,
    GetInstalledCertificateStatus,
    InstallCertificateStatus,
    LogStatus,
    LogType,
    SignedFirmwareStatus,
    TriggerMessageStatus,
    UpdateFirmwareStatus,
    UploadLogStatus,
)
from ampgate.ocpp.v16.types import (
    CertificateHashData,
    CiString50,
    CiString255,
    ConnectorId,
    Firmware,
    Integer,
    LogParameters,
    LooseText255,
    Message,
    Text5500,
    Text10000,
    Timestamp,
)


class CertificateSignedRequest(Message, frozen=True, kw_only=True):
    """Hands the charge point its signed certificate (security whitepaper)."""

    certificate_chain: Text10000
    """PEM, leaf first."""


class CertificateSignedResponse(Message, frozen=True, kw_only=True):
    """Whether the certificate is valid and in use (security whitepaper)."""

    status: CertificateSignedStatus


class DeleteCertificateRequest(Message, frozen=True, kw_only=True):
    """Removes an installed certificate (security whitepaper)."""

    certificate_hash_data: CertificateHashData


class DeleteCertificateResponse(Message, frozen=True, kw_only=True):
    """Whether the certificate is gone (security whitepaper)."""

    status: DeleteCertificateStatus


class ExtendedTriggerMessageRequest(Message, frozen=True, kw_only=True):
    """Asks the charge point to send a message, those of the whitepaper included (security whitepaper)."""

    requested_message: ExtendedMessageTrigger
    connector_id: ConnectorId | None = None
    """1 and up."""


class ExtendedTriggerMessageResponse(Message, frozen=True, kw_only=True):
    """Whether the message will come (security whitepaper)."""

    status: TriggerMessageStatus


class GetInstalledCertificateIdsRequest(Message, frozen=True, kw_only=True):
    """Asks which root certificates are installed (security whitepaper)."""

    certificate_type: CertificateUse


class GetInstalledCertificateIdsResponse(Message, frozen=True, kw_only=True):
    """The installed certificates, possibly an empty list (security whitepaper)."""

    status: GetInstalledCertificateStatus
    certificate_hash_data: list[CertificateHashData] | None = None


class GetLogRequest(Message, frozen=True, kw_only=True):
    """Asks for an upload of a log (security whitepaper)."""

    log: LogParameters
    log_type: LogType
    request_id: Integer
    retries: Integer | None = None
    retry_interval: Integer | None = None
    """Seconds between two tries."""


class GetLogResponse(Message, frozen=True, kw_only=True):
    """Whether the log will come, and as which file (security whitepaper)."""

    status: LogStatus
    filename: CiString255 | None = None


class InstallCertificateRequest(Message, frozen=True, kw_only=True):
    """Installs a root certificate (security whitepaper)."""

    certificate_type: CertificateUse
    certificate: Text5500
    """PEM."""


class InstallCertificateResponse(Message, frozen=True, kw_only=True):
    """Whether the certificate is installed (security whitepaper)."""

    status: InstallCertificateStatus


class LogStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Tells how the upload of a log goes (security whitepaper)."""

    status: UploadLogStatus
    request_id: Integer | None = None


class LogStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (security whitepaper)."""


class SecurityEventNotificationRequest(Message, frozen=True, kw_only=True):
    """Reports a security event (security whitepaper)."""

    type: CiString50
    """Name of the event in the list of the whitepaper, or one of the vendor."""
    timestamp: Timestamp
    tech_info: LooseText255 | None = None


class SecurityEventNotificationResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (security whitepaper)."""


class SignCertificateRequest(Message, frozen=True, kw_only=True):
    """Asks for a certificate to be signed (security whitepaper)."""

    csr: Text5500
    """PKCS#10 request, PEM."""


class SignCertificateResponse(Message, frozen=True, kw_only=True):
    """Whether the request will be processed (security whitepaper)."""

    status: GenericStatus


class SignedFirmwareStatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Tells how the update with signed firmware goes (security whitepaper)."""

    status: SignedFirmwareStatus
    request_id: Integer | None = None


class SignedFirmwareStatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Acknowledgement (security whitepaper)."""


class SignedUpdateFirmwareRequest(Message, frozen=True, kw_only=True):
    """Asks the charge point to fetch, verify and install signed firmware (security whitepaper)."""

    request_id: Integer
    firmware: Firmware
    retries: Integer | None = None
    retry_interval: Integer | None = None
    """Seconds between two tries."""


class SignedUpdateFirmwareResponse(Message, frozen=True, kw_only=True):
    """Whether the update will take place (security whitepaper)."""

    status: UpdateFirmwareStatus
