package yizheng.interop;

import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Date;
import java.util.List;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.gm.GMObjectIdentifiers;
import org.bouncycastle.asn1.ocsp.OCSPObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.cert.ocsp.BasicOCSPRespBuilder;
import org.bouncycastle.cert.ocsp.CertificateStatus;
import org.bouncycastle.cert.ocsp.OCSPReq;
import org.bouncycastle.cert.ocsp.OCSPRespBuilder;
import org.bouncycastle.cert.ocsp.RespID;
import org.bouncycastle.cert.ocsp.RevokedStatus;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SignerInformationVerifier;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculator;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TSPUtil;
import org.bouncycastle.tsp.TimeStampRequest;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.TimeStampResponseGenerator;
import org.bouncycastle.tsp.TimeStampToken;
import org.bouncycastle.tsp.TimeStampTokenGenerator;
import org.bouncycastle.util.Store;

/**
 * Detached CMS signatures, time stamps and OCSP by Bouncy Castle, with nothing of
 * Yizheng's code.
 *
 * <pre>
 * Signatures verify DIR   reads content.bin message.der root.der: the message is of the content, its signer's
 *                         certificate of the root; a time stamp in it must be of the signature and for that only
 * Signatures authority DIR        makes a root and a time stamp authority: root.der tsa.der tsa.key
 * Signatures stamp DIR            reads request.der (TimeStampReq), writes response.der
 * Signatures ocsp DIR good|revoked  reads request.der (OCSPRequest) ca.der ca.key, writes response.der
 * </pre>
 *
 * Exit code 0 when done, 1 when something is refused, 2 on anything else.
 */
public final class Signatures {
    static final String ALGORITHM = "SM3withSM2";

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Path dir = Path.of(args[1]);
        switch (args[0]) {
            case "verify" -> {
                try {
                    verify(dir);
                } catch (Exception e) {
                    System.err.println("refused: " + e);
                    System.exit(1);
                }
            }
            case "authority" -> authority(dir);
            case "stamp" -> stamp(dir);
            case "ocsp" -> ocsp(dir, args[2].equals("revoked"));
            default -> System.exit(2);
        }
    }

    // --- a message ------------------------------------------------------------

    static void verify(Path dir) throws Exception {
        byte[] content = Files.readAllBytes(dir.resolve("content.bin"));
        CMSSignedData message = new CMSSignedData(new CMSProcessableByteArray(content), Files.readAllBytes(dir.resolve("message.der")));
        require(message.isDetachedSignature(), "not detached");
        require(message.getSignerInfos().size() == 1, "not one signer");
        SignerInformation signer = message.getSignerInfos().iterator().next();
        X509CertificateHolder certificate = only(message.getCertificates(), signer);
        require(signer.verify(verifier(certificate)), "signature");
        require(signer.getEncryptionAlgOID().equals(GMObjectIdentifiers.sm2sign_with_sm3.getId()), "algorithm " + signer.getEncryptionAlgOID());
        require(signer.getSignedAttributes().get(PKCSObjectIdentifiers.id_aa_signingCertificateV2) != null, "no signing certificate");
        issuedBy(certificate, certificate(dir.resolve("root.der")));
        Attribute stamp = signer.getUnsignedAttributes() == null ? null
                : signer.getUnsignedAttributes().get(PKCSObjectIdentifiers.id_aa_signatureTimeStampToken);
        if (stamp != null) {
            verifyStamp(new TimeStampToken(new CMSSignedData(stamp.getAttrValues().getObjectAt(0).toASN1Primitive().getEncoded())), signer.getSignature());
            System.out.println("stamped");
        }
        System.out.println("verified");
    }

    static void verifyStamp(TimeStampToken token, byte[] signature) throws Exception {
        X509CertificateHolder certificate = only(token.getCertificates(), token.toCMSSignedData().getSignerInfos().iterator().next());
        TSPUtil.validateCertificate(certificate);
        token.validate(verifier(certificate));
        DigestCalculator digest = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build().get(token.getTimeStampInfo().getHashAlgorithm());
        digest.getOutputStream().write(signature);
        require(Arrays.equals(digest.getDigest(), token.getTimeStampInfo().getMessageImprintDigest()), "the time stamp is of something else");
    }

    @SuppressWarnings("unchecked")
    static X509CertificateHolder only(Store<X509CertificateHolder> store, SignerInformation signer) {
        return (X509CertificateHolder) store.getMatches(signer.getSID()).iterator().next();
    }

    static SignerInformationVerifier verifier(X509CertificateHolder certificate) throws Exception {
        return new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate);
    }

    static void issuedBy(X509CertificateHolder certificate, X509CertificateHolder issuer) throws Exception {
        require(certificate.getIssuer().equals(issuer.getSubject())
                && certificate.isSignatureValid(new JcaContentVerifierProviderBuilder().setProvider("BC").build(issuer)), "certificate is not of the root");
    }

    static void require(boolean fine, String what) {
        if (!fine) {
            throw new IllegalStateException(what);
        }
    }

    // --- a time stamp authority ------------------------------------------------

    static void authority(Path dir) throws Exception {
        KeyPair root = key();
        KeyPair tsa = key();
        X500Name rootName = new X500Name("CN=BC root");
        Files.write(dir.resolve("root.der"), builder(rootName, 1, rootName, root.getPublic())
                .addExtension(Extension.basicConstraints, true, new BasicConstraints(true))
                .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign))
                .build(new JcaContentSignerBuilder(ALGORITHM).setProvider("BC").build(root.getPrivate())).getEncoded());
        Files.write(dir.resolve("tsa.der"), builder(rootName, 2, new X500Name("CN=BC TSA"), tsa.getPublic())
                .addExtension(Extension.extendedKeyUsage, true, new ExtendedKeyUsage(KeyPurposeId.id_kp_timeStamping))
                .build(new JcaContentSignerBuilder(ALGORITHM).setProvider("BC").build(root.getPrivate())).getEncoded());
        Files.write(dir.resolve("tsa.key"), tsa.getPrivate().getEncoded());
    }

    static JcaX509v3CertificateBuilder builder(X500Name issuer, long serial, X500Name subject, PublicKey key) {
        long now = System.currentTimeMillis();
        return new JcaX509v3CertificateBuilder(issuer, BigInteger.valueOf(serial), new Date(now - 86_400_000L), new Date(now + 86_400_000L), subject, key);
    }

    static KeyPair key() throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance("EC", "BC");
        g.initialize(new ECGenParameterSpec("sm2p256v1"));
        return g.generateKeyPair();
    }

    static void stamp(Path dir) throws Exception {
        X509CertificateHolder certificate = certificate(dir.resolve("tsa.der"));
        PrivateKey key = Envelope.privateKey(dir.resolve("tsa.key"));
        TimeStampRequest request = new TimeStampRequest(Files.readAllBytes(dir.resolve("request.der")));
        DigestCalculator sm3 = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build().get(new AlgorithmIdentifier(GMObjectIdentifiers.sm3));
        TimeStampTokenGenerator tokens = new TimeStampTokenGenerator(
                new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC").build(ALGORITHM, key, new org.bouncycastle.cert.jcajce.JcaX509CertificateConverter()
                        .setProvider("BC").getCertificate(certificate)), sm3, new ASN1ObjectIdentifier("1.2.3.4"));
        tokens.addCertificates(new JcaCertStore(List.of(certificate)));
        tokens.setAccuracyMillis(500);
        TimeStampResponse response = new TimeStampResponseGenerator(tokens, java.util.Set.of(GMObjectIdentifiers.sm3.getId()))
                .generate(request, BigInteger.valueOf(7), new Date());
        response.validate(request);
        Files.write(dir.resolve("response.der"), response.getEncoded());
    }

    // --- an OCSP responder -------------------------------------------------------

    static void ocsp(Path dir, boolean revoked) throws Exception {
        X509CertificateHolder ca = certificate(dir.resolve("ca.der"));
        OCSPReq request = new OCSPReq(Files.readAllBytes(dir.resolve("request.der")));
        DigestCalculator sha1 = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build().get(RespID.HASH_SHA1);
        BasicOCSPRespBuilder answers = new BasicOCSPRespBuilder(ca.getSubjectPublicKeyInfo(), sha1);
        require(request.getRequestList().length == 1, "not one question");
        require(request.getRequestList()[0].getCertID().matchesIssuer(ca, new JcaDigestCalculatorProviderBuilder().setProvider("BC").build()), "another issuer");
        answers.addResponse(request.getRequestList()[0].getCertID(),
                revoked ? new RevokedStatus(new Date(System.currentTimeMillis() - 3_600_000L), 1) : CertificateStatus.GOOD,
                new Date(), new Date(System.currentTimeMillis() + 3_600_000L), null);
        answers.setResponseExtensions(new Extensions(request.getExtension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce)));
        Files.write(dir.resolve("response.der"), new OCSPRespBuilder().build(OCSPRespBuilder.SUCCESSFUL, answers.build(
                new JcaContentSignerBuilder(ALGORITHM).setProvider("BC").build(Envelope.privateKey(dir.resolve("ca.key"))),
                new X509CertificateHolder[] {ca}, new Date())).getEncoded());
    }

    static X509CertificateHolder certificate(Path file) throws Exception {
        return new X509CertificateHolder(Files.readAllBytes(file));
    }

    private Signatures() {}
}
