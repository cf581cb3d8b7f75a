package yizheng.interop;

import static yizheng.interop.Strangers.require;

import java.io.ByteArrayInputStream;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.List;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.gm.GMObjectIdentifiers;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/** Seals and their signatures by Bouncy Castle's SM2, SM3 and certificates. */
final class Castle {
    /** Verifies a seal's signature of a whole file, with both certificates of the root. */
    static String verify(Field field, byte[] root) throws Exception {
        byte[] signature = field.structure();
        String version = signedRightly(field, signature);
        require(field.coversAll(), "the range does not cover the file");
        byte[] seal = Der.at(signature, 0, 1);
        boolean v1 = version.equals("V1");
        byte[] holder = Der.content(v1 ? Der.at(signature, 0, 5) : Der.at(signature, 1));
        byte[] maker = Der.content(v1 ? Der.at(seal, 1, 0) : Der.at(seal, 1));
        byte[] value = Der.content(v1 ? Der.at(seal, 1, 2) : Der.at(seal, 3));
        byte[] algorithm = v1 ? Der.at(seal, 1, 1) : Der.at(seal, 2);
        byte[] info = Der.at(seal, 0);
        isSM2(algorithm);
        require(sm2(maker, v1 ? Der.sequence(info, Der.at(seal, 1, 0), algorithm) : info, value), "the maker's signature");
        listed(info, v1, holder);
        for (byte[] certificate : List.of(holder, maker)) {
            certificate(certificate).verify(certificate(root).getPublicKey(), "BC");
        }
        return version;
    }

    /** Verifies the signature value and the digest over what the range covers, and that alone. */
    static String signedRightly(Field field, byte[] signature) throws Exception {
        byte[] tbs = Der.at(signature, 0);
        boolean v1 = Der.inside(signature).size() == 2;
        isSM2(v1 ? Der.at(tbs, 6) : Der.at(signature, 2));
        byte[] holder = Der.content(v1 ? Der.at(tbs, 5) : Der.at(signature, 1));
        require(sm2(holder, tbs, Der.content(v1 ? Der.at(signature, 1) : Der.at(signature, 3))), "the signer's signature");
        require(Arrays.equals(MessageDigest.getInstance("SM3", "BC").digest(field.covered()), Der.content(Der.at(tbs, 3))), "the digest");
        return "V" + Der.content(Der.at(tbs, 0))[0];
    }

    static void listed(byte[] info, boolean v1, byte[] holder) throws Exception {
        byte[] property = Der.at(info, 2);
        boolean digests = !v1 && Der.content(Der.at(property, 2))[0] == 2;
        byte[] sm3 = MessageDigest.getInstance("SM3", "BC").digest(holder);
        for (byte[] item : Der.inside(Der.at(property, v1 ? 2 : 3))) {
            if (digests ? Arrays.equals(Der.content(Der.at(item, 1)), sm3) : Arrays.equals(Der.content(item), holder)) {
                return;
            }
        }
        throw new Strangers.Refused("the signer is not in the seal's list");
    }

    static void isSM2(byte[] oid) throws Exception {
        require(ASN1ObjectIdentifier.fromByteArray(oid).equals(GMObjectIdentifiers.sm2sign_with_sm3), "the algorithm");
    }

    static boolean sm2(byte[] certificate, byte[] message, byte[] value) throws Exception {
        Signature s = Signature.getInstance("SM3withSM2", "BC"); // its default user id is 1234567812345678
        s.initVerify(certificate(certificate).getPublicKey());
        s.update(message);
        return s.verify(value);
    }

    /** Verifies a CMS message over what the range covers, and that alone. */
    static void messageOf(Field field) throws Exception {
        CMSSignedData message = new CMSSignedData(new CMSProcessableByteArray(field.covered()), field.structure());
        SignerInformation signer = message.getSignerInfos().iterator().next();
        X509CertificateHolder certificate = (X509CertificateHolder) message.getCertificates().getMatches(signer.getSID()).iterator().next();
        require(signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate)), "the signature");
    }

    /** A detached CMS message of some bytes. */
    static byte[] message(byte[] content, byte[] key, byte[] certificate) throws Exception {
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build())
                .build(new JcaContentSignerBuilder("SM3withSM2").setProvider("BC").build(key(key)), certificate(certificate)));
        generator.addCertificates(new JcaCertStore(List.of(certificate(certificate))));
        return generator.generate(new CMSProcessableByteArray(content), false).getEncoded("DER");
    }

    static X509Certificate certificate(byte[] der) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", "BC").generateCertificate(new ByteArrayInputStream(der));
    }

    static PrivateKey key(byte[] pkcs8) throws Exception {
        return KeyFactory.getInstance("EC", "BC").generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
    }

    private Castle() {}
}
