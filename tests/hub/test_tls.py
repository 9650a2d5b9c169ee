"""If this fails, a model or an access token travels to somebody who is not the hub."""

import pathlib
import unittest

from case import TOKEN, HubCase
from repository import Repository, tiny
from server import Hub

CERTIFICATE = pathlib.Path(__file__).parent / "data" / "localhost.pem"


class TlsTest(HubCase):
    certificate = CERTIFICATE

    def test_a_hub_that_proves_who_it_is_is_pulled_from(self):
        self.assert_pulled(self.pull(SSL_CERT_FILE=CERTIFICATE, HF_TOKEN=TOKEN))
        self.assertEqual({request.token for request in self.hub.log(host="hub")}, {TOKEN})

    def test_an_unknown_certificate_is_refused_before_anything_is_said(self):
        result = self.pull(HF_TOKEN=TOKEN)
        self.assert_refused(result, "could not prove who it is", "SSL_CERT_FILE", r"\(1 try\)")
        self.assertEqual(self.hub.requests, [])

    def test_a_certificate_of_another_host_is_refused(self):
        result = self.pull(SSL_CERT_FILE=CERTIFICATE, HF_TOKEN=TOKEN,
                           HF_ENDPOINT=self.hub.stranger)
        self.assert_refused(result, "could not prove who it is")
        self.assertEqual(self.hub.requests, [])

    def test_a_store_with_a_certificate_of_another_host_is_refused(self):
        self.hub.store = self.hub.stranger
        result = self.pull(SSL_CERT_FILE=CERTIFICATE)
        self.assert_refused(result, "could not prove who it is")
        self.assertEqual(self.hub.log(host="stranger"), [])

    def test_a_redirect_out_of_tls_is_refused(self):
        plain = self.enterContext(Hub(Repository("lab/other", tiny())))
        self.hub.store = plain.store
        result = self.pull(SSL_CERT_FILE=CERTIFICATE)
        self.assert_refused(result, plain.store)
        self.assertEqual(plain.requests, [])

    def test_a_certificate_file_that_is_not_there_is_named(self):
        result = self.pull(SSL_CERT_FILE=self.home / "none.pem")
        self.assert_refused(result, "none.pem")


if __name__ == "__main__":
    unittest.main()
