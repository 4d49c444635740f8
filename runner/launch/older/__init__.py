"""What only the older folder shape needs: its rules for units, and the package that its units import."""
