package yizheng.interop;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Calendar;
import java.util.concurrent.atomic.AtomicReference;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.apache.pdfbox.Loader;
import org.apache.pdfbox.cos.COSArray;
import org.apache.pdfbox.cos.COSDictionary;
import org.apache.pdfbox.cos.COSName;
import org.apache.pdfbox.cos.COSString;
import org.apache.pdfbox.io.RandomAccessReadBuffer;
import org.apache.pdfbox.pdfparser.PDFParser;
import org.apache.pdfbox.pdmodel.PDDocument;
import org.apache.pdfbox.pdmodel.PDPage;
import org.apache.pdfbox.pdmodel.PDPageContentStream;
import org.apache.pdfbox.pdmodel.PDResources;
import org.apache.pdfbox.pdmodel.common.PDRectangle;
import org.apache.pdfbox.pdmodel.font.PDFont;
import org.apache.pdfbox.pdmodel.font.PDType1Font;
import org.apache.pdfbox.pdmodel.font.Standard14Fonts;
import org.apache.pdfbox.pdmodel.graphics.form.PDFormXObject;
import org.apache.pdfbox.pdmodel.interactive.digitalsignature.ExternalSigningSupport;
import org.apache.pdfbox.pdmodel.interactive.digitalsignature.PDSignature;
import org.apache.pdfbox.pdmodel.interactive.digitalsignature.SignatureOptions;
import org.apache.pdfbox.text.PDFTextStripper;

/** Documents by PDFBox. */
final class Box {
    static final String HONEST = "honest";
    static final String FORGED = "FORGED";

    /** Opens a file strictly and writes its text; refused when PDFBox has anything to mend or to warn of. */
    static String inside(byte[] file, Path text) throws Exception {
        AtomicReference<String> warning = new AtomicReference<>();
        Handler listener = new Handler() {
            @Override
            public void publish(LogRecord r) {
                if (r.getLevel().intValue() >= Level.WARNING.intValue()) {
                    warning.set(r.getMessage());
                }
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        Logger.getLogger("org.apache").addHandler(listener);
        try (PDDocument document = new PDFParser(new RandomAccessReadBuffer(file)).parse(false)) {
            Files.writeString(text, new PDFTextStripper().getText(document));
            Field field = Field.of(file, document);
            Strangers.require(field.coversAll(), "the range does not cover the file");
            Strangers.require(warning.get() == null, "warning: " + warning.get());
            return document.getNumberOfPages() + " " + field;
        } finally {
            Logger.getLogger("org.apache").removeHandler(listener);
        }
    }

    /** A document of one page, plain or prepared for a shadow attack. */
    static byte[] page(String kind) throws IOException {
        try (PDDocument document = new PDDocument()) {
            PDPage page = new PDPage(PDRectangle.A4);
            document.addPage(page);
            switch (kind) {
                case "plain" -> write(document, page, helvetica(), HONEST);
                case "hide" -> { // what is to be shown lies under an overlay
                    write(document, page, helvetica(), FORGED);
                    PDFormXObject overlay = new PDFormXObject(document);
                    overlay.setBBox(page.getMediaBox());
                    overlay.setResources(new PDResources());
                    try (var out = overlay.getContentStream().createOutputStream()) {
                        out.write("1 1 1 rg 0 0 595 842 re f".getBytes());
                    }
                    page.getResources().put(COSName.getPDFName("Overlay"), overlay);
                    try (PDPageContentStream c = new PDPageContentStream(document, page, PDPageContentStream.AppendMode.APPEND, false)) {
                        c.drawForm(overlay);
                    }
                }
                case "replace" -> { // a font whose glyphs are named in an object of their own
                    PDFont font = helvetica();
                    font.getCOSObject().setItem(COSName.ENCODING, encoding(HONEST));
                    font.getCOSObject().getCOSDictionary(COSName.ENCODING).setDirect(false);
                    write(document, page, font, HONEST);
                }
                case "both" -> { // a second tree of pages that nothing shows
                    write(document, page, helvetica(), HONEST);
                    PDPage other = new PDPage(PDRectangle.A4);
                    write(document, other, helvetica(), FORGED);
                    COSDictionary tree = new COSDictionary();
                    tree.setItem(COSName.TYPE, COSName.PAGES);
                    tree.setInt(COSName.COUNT, 1);
                    COSArray kids = new COSArray();
                    kids.add(other);
                    tree.setItem(COSName.KIDS, kids);
                    other.getCOSObject().setItem(COSName.PARENT, tree);
                    document.getDocumentCatalog().getCOSObject().setItem(SPARE, tree);
                }
                default -> throw new IllegalArgumentException(kind);
            }
            return saved(document);
        }
    }

    static final COSName SPARE = COSName.getPDFName("Spare");

    static PDFont helvetica() {
        return new PDType1Font(Standard14Fonts.FontName.HELVETICA);
    }

    /** Draws the letters of "honest" as those of another word of six. */
    static COSDictionary encoding(String word) {
        COSDictionary encoding = new COSDictionary();
        encoding.setItem(COSName.TYPE, COSName.ENCODING);
        encoding.setItem(COSName.BASE_ENCODING, COSName.WIN_ANSI_ENCODING);
        COSArray differences = new COSArray();
        for (int i = 0; i < HONEST.length(); i++) {
            differences.add(org.apache.pdfbox.cos.COSInteger.get(HONEST.charAt(i)));
            differences.add(COSName.getPDFName(word.substring(i, i + 1)));
        }
        encoding.setItem(COSName.DIFFERENCES, differences);
        return encoding;
    }

    static void write(PDDocument document, PDPage page, PDFont font, String text) throws IOException {
        try (PDPageContentStream c = new PDPageContentStream(document, page, PDPageContentStream.AppendMode.APPEND, false, true)) {
            c.beginText();
            c.setFont(font, 24);
            c.newLineAtOffset(72, 700);
            c.showText(text);
            c.endText();
        }
    }

    static byte[] saved(PDDocument document) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        document.save(out);
        return out.toByteArray();
    }

    /** Signs in an appended revision. CMS+SEAL lays the seal beside the message. */
    static byte[] sign(String kind, byte[] plain, byte[] key, byte[] certificate, byte[] seal) throws Exception {
        boolean ses = kind.startsWith("V");
        try (PDDocument document = Loader.loadPDF(plain); SignatureOptions options = new SignatureOptions()) {
            PDSignature s = new PDSignature();
            s.setFilter(COSName.getPDFName(ses ? "Gomain.GMPkiLite" : "Adobe.PPKLite"));
            s.setSubFilter(COSName.getPDFName(ses ? "GM.sm2seal" : "adbe.pkcs7.detached"));
            s.setSignDate(Calendar.getInstance());
            if (kind.equals("CMS+SEAL")) {
                COSString beside = new COSString(seal);
                beside.setForceHexForm(true);
                s.getCOSObject().setItem(COSName.getPDFName("Yizheng.SESeal"), beside);
            }
            options.setPreferredSignatureSize(32768);
            document.addSignature(s, options);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ExternalSigningSupport signing = document.saveIncrementalForExternalSigning(out);
            byte[] content = signing.getContent().readAllBytes();
            signing.setSignature(ses ? Ofdrw.signature(kind.equals("V1"), content, key, certificate, seal) : Castle.message(content, key, certificate));
            return out.toByteArray();
        }
    }

    static String text(byte[] file) throws IOException {
        try (PDDocument document = Loader.loadPDF(file)) {
            return new PDFTextStripper().getText(document);
        }
    }

    private Box() {}
}
