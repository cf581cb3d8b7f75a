package yizheng.interop;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Date;
import java.util.HexFormat;
import java.util.Hashtable;
import java.util.Properties;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.ASN1Primitive;
import org.bouncycastle.asn1.ASN1Sequence;
import org.bouncycastle.asn1.ASN1TaggedObject;
import org.bouncycastle.asn1.ASN1UTF8String;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERPrintableString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.DERTaggedObject;
import org.bouncycastle.asn1.DERUTF8String;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.cms.IssuerAndSerialNumber;
import org.bouncycastle.asn1.gm.GMObjectIdentifiers;
import org.bouncycastle.asn1.x500.AttributeTypeAndValue;
import org.bouncycastle.asn1.x500.RDN;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x500.style.BCStyle;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSException;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.DefaultSignedAttributeTableGenerator;
import org.bouncycastle.cms.KeyTransRecipient;
import org.bouncycastle.cms.KeyTransRecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientOperator;
import org.bouncycastle.cms.SignerInfoGeneratorBuilder;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.crypto.engines.SM2Engine;
import org.bouncycastle.crypto.params.ParametersWithRandom;
import org.bouncycastle.crypto.util.PrivateKeyFactory;
import org.bouncycastle.crypto.util.PublicKeyFactory;
import org.bouncycastle.jcajce.io.CipherInputStream;
import org.bouncycastle.jcajce.io.CipherOutputStream;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.AsymmetricKeyWrapper;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.GenericKey;
import org.bouncycastle.operator.InputDecryptor;
import org.bouncycastle.operator.OperatorException;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/**
 * Opens and seals ferry envelopes with Bouncy Castle's CMS, from the
 * specification (docs/protocol/envelope.md) and nothing of Yizheng's code.
 *
 * <pre>
 * Envelope open DIR        reads recipient.key sender.pub sealed.der, writes body.bin attributes.txt
 * Envelope seal DIR gm     reads sender.key recipient.pub body.bin attributes.txt, writes sealed.der
 * Envelope seal DIR pkcs7  the same as Bouncy Castle does it by itself: PKCS#7 OIDs, subjectKeyIdentifier
 * </pre>
 *
 * Private keys are PKCS#8 DER, public keys SubjectPublicKeyInfo DER. Exit code 0
 * when done, 1 when the message is refused, 2 on anything else.
 */
public final class Envelope {
    static final ASN1ObjectIdentifier FERRY = new ASN1ObjectIdentifier("1.2.156.251370861.1.1");
    static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Path dir = Path.of(args[1]);
        switch (args[0]) {
            case "open" -> {
                try {
                    open(dir);
                } catch (CMSException | IllegalArgumentException | IOException e) {
                    System.err.println("refused: " + e);
                    System.exit(1);
                }
            }
            case "seal" -> seal(dir, args[2].equals("gm"));
            default -> System.exit(2);
        }
    }

    // --- open -----------------------------------------------------------------

    static void open(Path dir) throws Exception {
        PrivateKey key = privateKey(dir.resolve("recipient.key"));
        PublicKey sender = publicKey(dir.resolve("sender.pub"));

        CMSEnvelopedData enveloped = new CMSEnvelopedData(Files.readAllBytes(dir.resolve("sealed.der")));
        RecipientInformation recipient = enveloped.getRecipientInfos().iterator().next();
        CMSSignedData signed = new CMSSignedData(recipient.getContent(new SM2Recipient(key)));
        SignerInformation signer = signed.getSignerInfos().iterator().next();
        if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(sender))) {
            throw new CMSException("signature does not verify");
        }
        Files.write(dir.resolve("body.bin"), (byte[]) signed.getSignedContent().getContent());
        Files.writeString(dir.resolve("attributes.txt"), text(signer.getSignedAttributes().get(FERRY)));
    }

    /** The content key comes as the ASN.1 of GB/T 35276, which Bouncy Castle's own SM2 recipient does not read. */
    record SM2Recipient(PrivateKey key) implements KeyTransRecipient {
        @Override
        public RecipientOperator getRecipientOperator(AlgorithmIdentifier keyAlgorithm, AlgorithmIdentifier algorithm, byte[] encrypted)
                throws CMSException {
            try {
                ASN1Sequence s = ASN1Sequence.getInstance(encrypted);
                byte[] raw = concat(new byte[] {4},
                        fixed(ASN1Integer.getInstance(s.getObjectAt(0)).getPositiveValue()),
                        fixed(ASN1Integer.getInstance(s.getObjectAt(1)).getPositiveValue()),
                        ASN1OctetString.getInstance(s.getObjectAt(2)).getOctets(),
                        ASN1OctetString.getInstance(s.getObjectAt(3)).getOctets());
                SM2Engine engine = new SM2Engine(SM2Engine.Mode.C1C3C2);
                engine.init(false, PrivateKeyFactory.createKey(key.getEncoded()));
                byte[] contentKey = engine.processBlock(raw, 0, raw.length);

                Cipher cipher = Cipher.getInstance("SM4/CBC/PKCS7Padding", "BC");
                byte[] iv = ASN1OctetString.getInstance(algorithm.getParameters()).getOctets();
                cipher.init(Cipher.DECRYPT_MODE, new SecretKeySpec(contentKey, "SM4"), new IvParameterSpec(iv));
                return new RecipientOperator(new InputDecryptor() {
                    @Override
                    public AlgorithmIdentifier getAlgorithmIdentifier() {
                        return algorithm;
                    }

                    @Override
                    public InputStream getInputStream(InputStream in) {
                        return new CipherInputStream(in, cipher);
                    }
                });
            } catch (Exception e) {
                throw new CMSException("content key", e);
            }
        }
    }

    /** The ferry attribute as name=value lines. */
    static String text(Attribute attribute) {
        ASN1Sequence s = ASN1Sequence.getInstance(attribute.getAttributeValues()[0]);
        String[] names = {"version", "kind", "exchange", "leg", "attempt", "sender", "recipient", "recipientKey", "deadline", "legDigest"};
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < s.size(); i++) {
            ASN1Encodable v = s.getObjectAt(i);
            String name;
            if (v instanceof ASN1TaggedObject t) {
                name = new String[] {"replyTo", "replyKey", "epoch"}[t.getTagNo()];
                v = t.getExplicitBaseObject();
            } else {
                name = names[i];
            }
            out.append(name).append('=').append(text(v.toASN1Primitive())).append('\n');
        }
        return out.toString();
    }

    static String text(ASN1Primitive v) {
        if (v instanceof ASN1Integer i) {
            return i.getValue().toString();
        }
        if (v instanceof ASN1OctetString o) {
            return HEX.formatHex(o.getOctets());
        }
        return ASN1UTF8String.getInstance(v).getString();
    }

    // --- seal -----------------------------------------------------------------

    static void seal(Path dir, boolean gm) throws Exception {
        PrivateKey key = privateKey(dir.resolve("sender.key"));
        PublicKey own = publicKey(dir.resolve("sender.pub"));
        PublicKey recipient = publicKey(dir.resolve("recipient.pub"));
        Properties p = new Properties();
        try (InputStream in = Files.newInputStream(dir.resolve("attributes.txt"))) {
            p.load(in);
        }
        byte[] body = Files.readAllBytes(dir.resolve("body.bin"));
        byte[] signed = sign(key, own, ferry(p), body, gm);
        Files.write(dir.resolve("sealed.der"), envelop(recipient, signed, gm));
    }

    static byte[] sign(PrivateKey key, PublicKey own, Attribute ferry, byte[] body, boolean gm) throws Exception {
        ContentSigner signer = new JcaContentSignerBuilder("SM3withSM2").setProvider("BC").build(key);
        Hashtable<ASN1ObjectIdentifier, Attribute> attributes = new Hashtable<>();
        attributes.put(FERRY, ferry); // content type, digest and signing time are added by Bouncy Castle
        SignerInfoGeneratorBuilder builder =
                new SignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build())
                        .setSignedAttributeGenerator(new DefaultSignedAttributeTableGenerator(new AttributeTable(attributes)));
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        if (!gm) {
            generator.addSignerInfoGenerator(builder.build(signer, keyId(own)));
            return generator.generate(new CMSProcessableByteArray(body), true).toASN1Structure().getEncoded("DER");
        }
        X509CertificateHolder certificate = keyCertificate(own, signer);
        generator.addSignerInfoGenerator(builder.build(signer, certificate));
        generator.addCertificate(certificate);
        CMSSignedData signed = generator.generate(new CMSProcessableByteArray(GMObjectIdentifiers.sm2_pkcs7_data, body), true);
        return new ContentInfo(GMObjectIdentifiers.sm2_pkcs7_signedData, signed.toASN1Structure().getContent()).getEncoded("DER");
    }

    static byte[] envelop(PublicKey to, byte[] signed, boolean gm) throws Exception {
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        SM2Wrapper wrapper = new SM2Wrapper(to);
        byte[] id = keyId(to);
        generator.addRecipientInfoGenerator(gm
                ? new KeyTransRecipientInfoGenerator(new IssuerAndSerialNumber(keyIssuer(), new BigInteger(1, id)), wrapper) {}
                : new KeyTransRecipientInfoGenerator(id, wrapper) {});
        CMSEnvelopedData enveloped = generator.generate(new CMSProcessableByteArray(signed), new SM4CBC());
        ContentInfo info = enveloped.toASN1Structure();
        if (gm) {
            info = new ContentInfo(GMObjectIdentifiers.sm2_pkcs7_envelopedData, info.getContent());
        }
        return info.getEncoded("DER");
    }

    static final class SM2Wrapper extends AsymmetricKeyWrapper {
        private final PublicKey to;

        SM2Wrapper(PublicKey to) {
            super(new AlgorithmIdentifier(GMObjectIdentifiers.sm2encrypt));
            this.to = to;
        }

        @Override
        public byte[] generateWrappedKey(GenericKey key) throws OperatorException {
            try {
                SM2Engine engine = new SM2Engine(SM2Engine.Mode.C1C3C2);
                engine.init(true, new ParametersWithRandom(PublicKeyFactory.createKey(to.getEncoded()), new SecureRandom()));
                byte[] contentKey = (byte[]) key.getRepresentation();
                byte[] raw = engine.processBlock(contentKey, 0, contentKey.length);
                ASN1EncodableVector v = new ASN1EncodableVector();
                v.add(new ASN1Integer(new BigInteger(1, Arrays.copyOfRange(raw, 1, 33))));
                v.add(new ASN1Integer(new BigInteger(1, Arrays.copyOfRange(raw, 33, 65))));
                v.add(new DEROctetString(Arrays.copyOfRange(raw, 65, 97)));
                v.add(new DEROctetString(Arrays.copyOfRange(raw, 97, raw.length)));
                return new DERSequence(v).getEncoded("DER");
            } catch (Exception e) {
                throw new OperatorException("content key", e);
            }
        }
    }

    static final class SM4CBC implements OutputEncryptor {
        private final byte[] key = new byte[16];
        private final byte[] iv = new byte[16];
        private final Cipher cipher;

        SM4CBC() throws Exception {
            SecureRandom random = new SecureRandom();
            random.nextBytes(key);
            random.nextBytes(iv);
            cipher = Cipher.getInstance("SM4/CBC/PKCS7Padding", "BC");
            cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "SM4"), new IvParameterSpec(iv));
        }

        @Override
        public AlgorithmIdentifier getAlgorithmIdentifier() {
            return new AlgorithmIdentifier(GMObjectIdentifiers.sms4_cbc, new DEROctetString(iv));
        }

        @Override
        public OutputStream getOutputStream(OutputStream out) {
            return new CipherOutputStream(out, cipher);
        }

        @Override
        public GenericKey getKey() {
            return new GenericKey(getAlgorithmIdentifier(), key);
        }
    }

    static Attribute ferry(Properties p) {
        ASN1EncodableVector v = new ASN1EncodableVector();
        v.add(new ASN1Integer(1));
        v.add(new ASN1Integer(Long.parseLong(p.getProperty("kind"))));
        v.add(new DERUTF8String(p.getProperty("exchange")));
        v.add(new DERUTF8String(p.getProperty("leg")));
        v.add(new ASN1Integer(Long.parseLong(p.getProperty("attempt"))));
        v.add(new DERUTF8String(p.getProperty("sender")));
        v.add(new DERUTF8String(p.getProperty("recipient")));
        v.add(new DEROctetString(HEX.parseHex(p.getProperty("recipientKey"))));
        v.add(new ASN1Integer(Long.parseLong(p.getProperty("deadline"))));
        v.add(new DEROctetString(HEX.parseHex(p.getProperty("legDigest"))));
        if (p.containsKey("replyTo")) {
            v.add(new DERTaggedObject(true, 0, new DERUTF8String(p.getProperty("replyTo"))));
            v.add(new DERTaggedObject(true, 1, new DEROctetString(HEX.parseHex(p.getProperty("replyKey")))));
        }
        if (p.containsKey("epoch")) {
            v.add(new DERTaggedObject(true, 2, new ASN1Integer(new BigInteger(p.getProperty("epoch")))));
        }
        return new Attribute(FERRY, new DERSet(new DERSequence(v)));
    }

    // --- keys -----------------------------------------------------------------

    /** First 16 bytes of SM3 over the SubjectPublicKeyInfo. */
    static byte[] keyId(PublicKey key) throws Exception {
        byte[] sum = java.security.MessageDigest.getInstance("SM3", "BC").digest(key.getEncoded());
        return Arrays.copyOf(sum, 16);
    }

    static X500Name keyIssuer() {
        return new X500Name(new RDN[] {new RDN(new AttributeTypeAndValue(BCStyle.CN, new DERPrintableString("Yizheng ferry key")))});
    }

    static X509CertificateHolder keyCertificate(PublicKey key, ContentSigner signer) throws Exception {
        Date now = new Date();
        return new X509v3CertificateBuilder(keyIssuer(), new BigInteger(1, keyId(key)), now, new Date(now.getTime() + 86_400_000L),
                keyIssuer(), SubjectPublicKeyInfo.getInstance(key.getEncoded())).build(signer);
    }

    static PrivateKey privateKey(Path file) throws Exception {
        return KeyFactory.getInstance("EC", "BC").generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(file)));
    }

    static PublicKey publicKey(Path file) throws Exception {
        return KeyFactory.getInstance("EC", "BC").generatePublic(new X509EncodedKeySpec(Files.readAllBytes(file)));
    }

    static byte[] fixed(BigInteger n) {
        return HEX.parseHex(String.format("%064x", n));
    }

    static byte[] concat(byte[]... parts) {
        java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
        for (byte[] p : parts) {
            out.writeBytes(p);
        }
        return out.toByteArray();
    }

    private Envelope() {}
}
