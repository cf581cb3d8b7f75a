package yizheng.interop;

import java.io.FileInputStream;
import java.io.InputStream;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

/** Validates files as PDF/A-2u with veraPDF: one line each that begins with "compliant" or "broken". */
public final class Archive {
    public static void main(String[] files) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        for (String file : files) {
            try (InputStream in = new FileInputStream(file);
                    PDFAParser parser = Foundries.defaultInstance().createParser(in, PDFAFlavour.PDFA_2_U);
                    PDFAValidator validator = Foundries.defaultInstance().createValidator(PDFAFlavour.PDFA_2_U, false)) {
                ValidationResult result = validator.validate(parser);
                StringBuilder line = new StringBuilder(result.isCompliant() ? "compliant " : "broken ").append(file);
                for (TestAssertion a : result.getTestAssertions()) {
                    line.append(" [").append(a.getRuleId().getClause()).append(" ").append(a.getMessage()).append("]");
                }
                System.out.println(line);
            }
        }
    }
}
