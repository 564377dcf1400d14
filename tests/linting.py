"""An independent linter's view of a certificate: pkilint, with its RFC 5280 profile."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader, report, validation  # type: ignore[import-untyped]
from pkilint.pkix import certificate as pkix  # type: ignore[import-untyped]
from pkilint.pkix import extension, name


def lint_errors(certificate: x509.Certificate) -> list[str]:
    """Findings of severity ERROR and above; empty when there is none."""
    decoders = pkix.create_decoding_validators(
        name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
    )
    linter = pkix.create_pkix_certificate_validator_container(
        decoders,
        [
            pkix.create_issuer_validator_container([]),
            pkix.create_validity_validator_container(),
            pkix.create_subject_validator_container([]),
            pkix.create_extensions_validator_container([]),
            pkix.create_spki_validator_container([]),
        ],
    )
    document = loader.load_certificate(certificate.public_bytes(Encoding.DER), "certificate")
    results = linter.validate(document.root)
    severity = validation.ValidationFindingSeverity.ERROR
    if not report.get_findings_count(results, severity):
        return []
    text: str = report.ReportGeneratorPlaintext(results, severity).generate()
    return text.splitlines()
