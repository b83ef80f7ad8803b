"""Certificates of an authority of our own."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """An authority, and its certificate in a file."""

    def __init__(self, folder: pathlib.Path, name: str):
        self.folder, self.name, self.key = folder, _name(name), ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.file = folder / f"{name}.pem"
        builder = self._builder(self.name, self.key).add_extension(constraints, critical=True)
        self.file.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )

    def issue(self, file: str, *names: str) -> tuple[pathlib.Path, pathlib.Path]:
        """A certificate for 127.0.0.1 and names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        all_names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *(x509.DNSName(name) for name in names)]
        builder = self._builder(_name(file), key).add_extension(x509.SubjectAlternativeName(all_names), critical=False)
        certificate = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        certificate[1].write_bytes(pem)
        certificate[0].write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return certificate
