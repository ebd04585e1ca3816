"""A test authority and the certificates it signs, made when asked for by the openssl program: nothing secret is kept in
the repository and nothing expires."""
import os
import subprocess


def _openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]} failed: {done.stderr.strip()}")


def make_authority(folder, name="ca"):
    """(certificate, key) of a new authority in folder."""
    certificate, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-sha256",
             "-subj", f"/CN=finch test authority {name}", "-keyout", key, "-out", certificate,
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    return certificate, key


def make_server(folder, authority, host="127.0.0.1", name="server"):
    """(chain, key) of a server certificate for host, signed by authority; localhost is good too where host is 127.0.0.1."""
    certificate, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    request, extensions = os.path.join(folder, f"{name}.csr"), os.path.join(folder, f"{name}.ext")
    names = "IP:127.0.0.1,DNS:localhost" if host == "127.0.0.1" else f"DNS:{host}"
    with open(extensions, "w", encoding="ascii") as file:
        file.write(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}", "-keyout", key, "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", authority[0], "-CAkey", authority[1], "-CAcreateserial", "-days", "2", "-sha256",
             "-extfile", extensions, "-out", certificate)
    return certificate, key
