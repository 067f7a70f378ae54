"""What a comparison shows, made from its folder alone; `report` writes it. Other reports draw with its parts."""
