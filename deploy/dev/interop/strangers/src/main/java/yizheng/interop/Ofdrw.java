package yizheng.interop;

import java.io.ByteArrayInputStream;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.util.Date;
import java.util.Locale;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1GeneralizedTime;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1Object;
import org.bouncycastle.asn1.ASN1UTCTime;
import org.bouncycastle.asn1.DERBitString;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERUTF8String;
import org.bouncycastle.asn1.gm.GMObjectIdentifiers;
import org.ofdrw.core.signatures.SigType;
import org.ofdrw.gm.ses.parse.SESVersion;
import org.ofdrw.gm.ses.parse.SESVersionHolder;
import org.ofdrw.gm.ses.parse.VersionParser;
import org.ofdrw.gm.ses.v1.SES_ESPictrueInfo;
import org.ofdrw.gm.ses.v1.SES_Header;
import org.ofdrw.gm.ses.v1.SES_SignInfo;
import org.ofdrw.gm.ses.v4.CertDigestList;
import org.ofdrw.gm.ses.v4.CertDigestObj;
import org.ofdrw.gm.ses.v4.CertInfoList;
import org.ofdrw.gm.ses.v4.SES_CertList;
import org.ofdrw.sign.ExtendSignatureContainer;
import org.ofdrw.sign.signContainer.SESV1Container;
import org.ofdrw.sign.signContainer.SESV4Container;
import org.ofdrw.sign.verify.container.SESV1ValidateContainer;
import org.ofdrw.sign.verify.container.SESV4ValidateContainer;

/** Seals and signatures by ofdrw. */
final class Ofdrw {
    static final String ALGORITHM = GMObjectIdentifiers.sm2sign_with_sm3.getId();
    static final DERUTF8String NAME = new DERUTF8String("云州市民政局业务专用章");

    /** Says the version, the identifier and the name of the seal. */
    static String verify(Field field) throws Exception {
        byte[] signature = field.structure();
        SESVersionHolder s = VersionParser.parseSES_SignatureVersion(signature);
        SESVersionHolder seal = VersionParser.parseSES_SealVersion(Der.at(signature, 0, 1));
        if (s.getVersion() == SESVersion.v1) {
            new SESV1ValidateContainer().validate(SigType.Seal, ALGORITHM, field.covered(), signature);
            var info = seal.getInstanceV1Seal().getEsealInfo();
            return "V1 " + info.getEsID() + " " + info.getProperty().getName();
        }
        new SESV4ValidateContainer().validate(SigType.Seal, ALGORITHM, field.covered(), signature);
        var info = seal.getInstanceV4Seal().geteSealInfo();
        return "V" + info.getHeader().getVersion() + " " + info.getEsID() + " " + info.getProperty().getName();
    }

    static byte[] seal(String version, byte[] makerKey, byte[] maker, byte[] holder, byte[] picture) throws Exception {
        PrivateKey key = Castle.key(makerKey);
        X509Certificate until = Castle.certificate(holder);
        Date from = until.getNotBefore();
        Date to = until.getNotAfter();
        SES_ESPictrueInfo image = new SES_ESPictrueInfo().setType("GIF").setData(picture).setWidth(42).setHeight(42);
        if (version.equals("V1")) {
            var info = new org.ofdrw.gm.ses.v1.SES_SealInfo()
                    .setHeader(new SES_Header().setVersion(1).setVid("OFDRW")).setEsID("OFDRW-1").setPicture(image)
                    .setProperty(new org.ofdrw.gm.ses.v1.SES_ESPropertyInfo(new ASN1Integer(1), NAME, new DERSequence(new DEROctetString(holder)),
                            new ASN1UTCTime(from, Locale.CHINA), new ASN1UTCTime(from, Locale.CHINA), new ASN1UTCTime(to, Locale.CHINA)));
            var certificate = new DEROctetString(maker);
            byte[] value = sign(key, new DERSequence(new ASN1Encodable[] {info, certificate, GMObjectIdentifiers.sm2sign_with_sm3}));
            return new org.ofdrw.gm.ses.v1.SESeal(info, new SES_SignInfo(certificate, GMObjectIdentifiers.sm2sign_with_sm3, new DERBitString(value)))
                    .getEncoded("DER");
        }
        boolean digests = version.equals("V4D");
        var property = new org.ofdrw.gm.ses.v4.SES_ESPropertyInfo().setType(new ASN1Integer(1)).setName(NAME)
                .setCertListType(new ASN1Integer(digests ? 2 : 1)).setCertList(digests ? byDigest(holder) : byCertificate(holder))
                .setCreateDate(new ASN1GeneralizedTime(from, Locale.CHINA)).setValidStart(new ASN1GeneralizedTime(from, Locale.CHINA))
                .setValidEnd(new ASN1GeneralizedTime(to, Locale.CHINA));
        var info = new org.ofdrw.gm.ses.v4.SES_SealInfo().setHeader(new SES_Header().setVersion(4).setVid("OFDRW")).setEsID("OFDRW-4")
                .setProperty(property).setPicture(image);
        return new org.ofdrw.gm.ses.v4.SESeal().seteSealInfo(info).setCert(new DEROctetString(maker))
                .setSignAlgID(GMObjectIdentifiers.sm2sign_with_sm3).setSignedValue(sign(key, info)).getEncoded("DER");
    }

    static SES_CertList byCertificate(byte[] holder) {
        return new SES_CertList(new CertInfoList().add(new DEROctetString(holder)));
    }

    static SES_CertList byDigest(byte[] holder) throws Exception {
        byte[] sm3 = MessageDigest.getInstance("SM3", "BC").digest(holder);
        return new SES_CertList(new CertDigestList().add(new CertDigestObj().setType(GMObjectIdentifiers.sm3.getId()).setValue(sm3)));
    }

    static byte[] sign(PrivateKey key, ASN1Object what) throws Exception {
        Signature s = Signature.getInstance("SM3withSM2", "BC");
        s.initSign(key);
        s.update(what.getEncoded("DER"));
        return s.sign();
    }

    /** A SES_Signature as ofdrw makes it for the signature file of an OFD. */
    static byte[] signature(boolean v1, byte[] content, byte[] key, byte[] certificate, byte[] seal) throws Exception {
        ExtendSignatureContainer container = v1
                ? new SESV1Container(Castle.key(key), org.ofdrw.gm.ses.v1.SESeal.getInstance(seal), Castle.certificate(certificate))
                : new SESV4Container(Castle.key(key), org.ofdrw.gm.ses.v4.SESeal.getInstance(seal), Castle.certificate(certificate));
        return container.sign(new ByteArrayInputStream(content), "/Doc_0/Signs/Sign_0/Signature.xml");
    }

    private Ofdrw() {}
}
